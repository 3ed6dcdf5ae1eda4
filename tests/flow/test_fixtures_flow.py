"""Golden numbers of CosyVoice 2's flow, made by the original: in one call, on its streaming grid, and in our stream."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speech.flow.layers import Context
from speech.flow.stream import FlowSetup, FlowStream
from speech.streaming.frames import Frames
from tests.flow.conftest import Golden

WHOLE = Context(chunk=None)
UNBOUNDED = Context(left=None)
STREAM = Context(left=250)  # no less than the utterance is long: nothing falls out of sight


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


def close(got: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    assert got.shape == wanted.shape
    torch.testing.assert_close(got, wanted, atol=tolerance, rtol=0)


def inputs(golden: Golden, count: int | None = None) -> Frames:
    """Prompt and the first `count` tokens, as the pipeline takes them."""
    tokens = torch.cat([golden["prompt_tokens"], golden["tokens"][:count]])[None]
    data = golden.flow.conditioned(tokens, golden["spk_embedding"][None], golden["prompt_mel"][None])
    return Frames.whole(data)


def encoded(golden: Golden, frames: Frames, context: Context) -> Tensor:
    """The encoder's output, [t, d]."""
    flow = golden.flow
    embeddings = frames.like(frames.data[..., : flow.config.encoder.dim])
    return flow.upsampler.at(context)(flow.front(embeddings)).data[0]


def test_noise_and_times(golden: Golden) -> None:
    close(golden.flow.noise[:480].T, golden["z0_used"], 1e-6)
    start, span = golden.flow.config.sampling.intervals()
    close(torch.cat([start, (start + span)[-1:]]), golden["t_span"], 1e-7)


def test_whole_signal(golden: Golden) -> None:
    frames, flow = inputs(golden), golden.flow
    close(encoded(golden, frames, WHOLE), golden["a_encoder"], 2e-5)
    conditions = flow.encoder(WHOLE)(flow.ahead()(frames))
    close(conditions.data[0, :, :80].T, golden["a_mu"], 2e-5)
    close(conditions.data[0, 7, 80:160], golden["a_spk"], 2e-5)
    solver, velocities = flow.solver(WHOLE), []
    solver.estimator.register_forward_hook(lambda *call: velocities.append(call[2].data))
    mel = solver(conditions).data[0]
    close(velocities[0].mT, golden["a_velocity_step0"])
    close(velocities[9].mT, golden["a_velocity_step9"])
    close(mel[60:].T, golden["a_mel"])


def test_encoder_in_a_whole_call_with_the_streaming_mask(golden: Golden) -> None:
    close(encoded(golden, inputs(golden), UNBOUNDED), golden["c_encoder"], 2e-5)
    for i, count in enumerate((45, 95, 195)):
        wanted = golden[f"b{i}_encoder"]
        got = encoded(golden, inputs(golden, count + 3), UNBOUNDED)[: len(wanted)]
        close(got, wanted, 2e-5)


def test_stream_equals_every_call_of_the_original(golden: Golden) -> None:
    """One pass over pieces of an awkward size, where the original runs everything again for each call."""
    stream = FlowStream(FlowSetup.of(golden.flow, STREAM), golden["spk_embedding"])
    stream.prompt(golden["prompt_tokens"], golden["prompt_mel"])
    mel = torch.cat([*(stream.push(part) for part in golden["tokens"].split(37)), stream.flush()]).T
    for name in ("b0_mel", "b1_mel", "b2_mel"):
        close(mel[:, : golden[name].shape[1]], golden[name])
    close(mel, golden["c_mel"])


def test_stream_without_a_prompt(golden: Golden) -> None:
    stream = FlowStream(FlowSetup.of(golden.flow, STREAM), golden["spk_embedding"])
    assert len(stream.push(golden["tokens"][:27])) == 0
    close(stream.push(golden["tokens"][27:28]).T, golden["d_mel_no_prompt"])


def test_a_cut_off_the_grid(golden: Golden) -> None:
    """A last chunk that is not full sees itself alone, as a stream's last one does."""
    flow, frames = golden.flow, inputs(golden, 57 + 3)
    ahead = flow.ahead()(frames).data[:, :-3]
    mel = flow.solver(UNBOUNDED)(flow.encoder(UNBOUNDED)(Frames.whole(ahead))).data[0]
    close(mel[60:].T, golden["b_offgrid_mel"])
