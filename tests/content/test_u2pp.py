"""Fast-U2++ against the golden numbers of the original at reduced size, its positions, and what its import refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.content.u2pp import U2PPConfig, U2PPEncoder
from speech.errors import SpeechError
from speech.hub.checkpoint import build
from speech.hub.meanvc.content import from_u2pp
from speech.hub.torchscript import read_weights
from speech.streaming.attention import Absolute, Attention, sinusoid
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.streaming.timing import Timing

Arrays = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def public(shared: Path) -> Arrays:
    return read_weights(shared / "fixtures/u2pp_content_encoder/encoder.pt")


@pytest.fixture(scope="module")
def golden(shared: Path) -> Arrays:
    with np.load(shared / "fixtures/u2pp_content_encoder/io.npz") as found:
        return {name: torch.from_numpy(found[name]) for name in found}


def encoder(tensors: Arrays, **changes: int) -> U2PPEncoder:
    config, weights = from_u2pp(tensors)
    model = build(U2PPEncoder, replace(config, **changes), weights, "encoder.pt")
    assert isinstance(model, U2PPEncoder)
    return model.eval()


def close(got: Tensor, wanted: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(got, wanted, atol=tolerance, rtol=0)


def test_whole_signals(public: Arrays, golden: Arrays) -> None:
    model = encoder(public)
    assert model.config.layers == 3 and (model.config.chunk, model.config.left_chunks) == (5, 2)
    samples, fbank = Frames.whole(golden["audio"][None] / 32768), Frames.whole(golden["fbank"][None])
    close(model.mel(samples).data[0], golden["fbank"], 2e-3)
    close(model.subsampling(fbank.like(model.mel_norm(fbank.data))).data[0], golden["embed"], 1e-4)
    close(model.from_mel()(fbank).data[0], golden["200ms_whole_masked"], 2e-4)
    close(model(samples).data[0], golden["200ms_whole_masked"], 2e-4)


def test_full_attention_is_one_chunk(public: Arrays, golden: Arrays) -> None:
    model = encoder(public, chunk=100, left_chunks=0)
    close(model.from_mel()(Frames.whole(golden["fbank"][None])).data[0], golden["whole_full_attention"], 2e-4)


def test_chunks_as_the_original_cuts_them(public: Arrays, golden: Arrays) -> None:
    """The first step has its frames with 3920 samples, every other with 3200 more, as in the original's runtime."""
    driver, samples = Driver(encoder(public).pipeline(), 3200), golden["audio"] / 32768
    wanted = golden["200ms_audio_chunks"]
    assert not len(driver.push(samples[:3919])) and len(driver.push(samples[3919:3920])) == 5
    driver.reset()
    close(driver.push(samples[: 720 + 16 * 3200]), wanted.flatten(0, 1), 2e-4)
    close(golden["200ms_chunks"], wanted, 1e-5)


@pytest.mark.parametrize(("milliseconds", "frames"), [(200, 5), (160, 4), (80, 2)])
def test_latency(milliseconds: int, frames: int) -> None:
    config = U2PPConfig(dim=4, layers=1, heads=1, ff_hidden=4, chunk=frames)
    timing = Timing.of(U2PPEncoder(config).pipeline(), 16000)
    assert timing.chunk_ms == milliseconds and timing.hop == config.frame == 0.04
    assert timing.latency_ms == milliseconds + 45


def test_positions_count_on_as_the_original_runtime_counts() -> None:
    """Its offset is set to 20 frames after every 50 chunks of 5; keys count on from the offset less what is cached."""
    left, chunk, offset = 10, 5, 0
    positions = Absolute(250, 20)
    for number in range(160):
        offset = 20 if number and number % 50 == 0 else offset
        i = torch.arange(number * chunk, (number + 1) * chunk)[:, None]
        j = torch.arange(number * chunk - left, (number + 1) * chunk)
        wanted = torch.arange(offset - left, offset + chunk)
        assert torch.equal(positions(i, j, chunk), wanted.expand(chunk, -1))
        offset += chunk


def test_scores_tell_of_the_position_of_the_key() -> None:
    """(q_i + u) . k_j + (q_i + v) . r_p(i, j), written out pair by pair, over the end of a lap."""
    torch.manual_seed(0)
    attention, t = Attention(4, 1, left=2, chunk=2, position=Absolute(4, 3)), 10
    for bias in (attention.u, attention.v):
        torch.nn.init.normal_(bias)
    x = torch.randn(1, t, 4)
    begins = [0, 2, 3, 5, 3]  # the position of the first frame of every chunk
    q, k, v = attention.qkv(x[0]).chunk(3, -1)
    r = attention.pos(sinusoid(9, 0, 4)).flip(0)
    score = torch.full((t, t), -torch.inf)
    for i in range(t):
        for j in range(max(0, i // 2 * 2 - 2), i // 2 * 2 + 2):
            position = begins[i // 2] + j - i // 2 * 2
            score[i, j] = (q[i] + attention.u[0]) @ k[j] + (q[i] + attention.v[0]) @ r[position]
    expected = attention.out((score / 2).softmax(-1) @ v)
    torch.testing.assert_close(attention(Frames.whole(x)).data[0], expected)


def test_positions_that_do_not_fit_are_refused() -> None:
    for chunk, lap in ((None, Absolute(4, 4)), (3, Absolute(4, 4)), (2, Absolute(4, 1))):
        with pytest.raises(ValueError, match="laps of whole ones"):
            Attention(4, 1, left=6, chunk=chunk, position=lap)
    with pytest.raises(SpeechError, match="left_chunks <= restart, got chunk 5"):
        U2PPConfig(left_chunks=5)


def test_the_streaming_one_of_two_convolutions_is_taken(public: Arrays, golden: Arrays) -> None:
    twofold = {name.replace("conv_module.", "conv_module.streaming_conv."): t for name, t in public.items()}
    twofold |= {
        name.replace("conv_module.", "conv_module.non_streaming_conv."): torch.randn_like(t)
        for name, t in public.items()
        if "conv_module." in name
    }
    twofold |= {"ctc.ctc_lo.weight": torch.zeros(3, 3), "encoder.encoders.0.concat_linear.bias": torch.zeros(64)}
    out = encoder(twofold).from_mel()(Frames.whole(golden["fbank"][None]))
    close(out.data[0], golden["200ms_whole_masked"], 2e-4)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("encoder.encoders.1.self_attn.linear_k.weight", None, "self_attn.linear_k is missing"),
        ("encoder.encoders.1.self_attn.linear_k.weight", torch.zeros(2), "of one shape for layers.1"),
        ("encoder.encoders.1.conv_module.depthwise_conv.bias", torch.zeros(3), "depthwise.bias has shape"),
        ("encoder.embed.out.0.weight", torch.zeros(64, 7), "out.weight has shape"),
        ("encoder.encoders.0.cross_attn.weight", torch.zeros(3), "cross_attn is not known"),
        ("encoder.global_cmvn.mean", None, "got none"),
    ],
)
def test_other_models_are_refused(public: Arrays, name: str, tensor: Tensor | None, words: str) -> None:
    changed = {key: value for key, value in public.items() if not key.startswith(name.removesuffix(".weight"))}
    with pytest.raises(SpeechError, match=words):
        encoder(changed if tensor is None else public | {name: tensor})
