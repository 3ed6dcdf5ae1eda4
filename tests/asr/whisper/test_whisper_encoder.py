"""What the generic contract tests cannot show: the initial block, laps of positions, one set of weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from speech.asr.whisper.config import Context
from speech.asr.whisper.encoder import Encoder, Positions, sinusoids
from speech.asr.whisper.lora import adapt
from speech.errors import SpeechError
from speech.streaming.attention import Attention
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.timing import Timing, phase_for
from tests.asr.whisper.small import CONFIG, small


def streamed(encoder: Encoder, mel: Tensor, more: list[int]) -> Tensor:
    """The encoder frames of one stream in slot 1 of 2: its opening, then so many chunks a step. mel: [t, features]."""
    state, slots = encoder.init_state(2), torch.tensor([1])
    at = phase = phase_for(encoder)
    outs, counts = [], [encoder.opening, *(n * encoder.grain for n in more)]
    for count in counts:
        chunk = torch.zeros(1, count, mel.shape[1])
        inside = torch.arange(at, at + count).clamp(min=0)
        within = (torch.arange(at, at + count) >= 0) & (inside < len(mel))
        chunk[0, within] = mel[inside[within]]
        stop = len(mel) if at + count > len(mel) else OPEN
        y = encoder.step(Frames(chunk, Place(torch.tensor([at]), torch.tensor([stop]), count, phase)), state, slots)
        outs.append(y.data[0, y.place.valid[0]])
        at += count
    return torch.cat(outs)


@pytest.mark.parametrize("context", [*CONFIG.contexts, Context(2, left=6, initial=4, sinks=3, restart=11)])
def test_the_initial_block_comes_in_one_step(context: Context) -> None:
    """Also beyond the last position, 40 frames in."""
    encoder, mel = small().encoder.at(context), torch.randn(211, 10)
    with torch.inference_mode():
        whole = encoder(Frames.whole(mel[None])).data[0]
        got = streamed(encoder, mel, [1, 2, 1, 5, 3, 1, *[2] * 24])
    assert len(whole) == 106
    torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-5)


def test_who_sees_whom() -> None:
    """Of 3 chunks of 2 frames the first two are one block; the third sees both, one chunk back and the sink."""
    attention = Attention(4, 2, left=2, chunk=2, initial=4, sinks=1, position="none")
    i, j = torch.arange(8)[:, None], torch.arange(8)[None]
    seen = ["".join("x" if s else "." for s in row) for row in attention.window.sees(i, j).tolist()]
    assert seen == ["xxxx....", "xxxx....", "xxxx....", "xxxx....", "x.xxxx..", "x.xxxx..", "x...xxxx", "x...xxxx"]
    for wrong in ({"chunk": None}, {"chunk": 3, "left": 3}, {"position": "relative"}):
        settings = {"left": 2, "chunk": 2, "position": "none"} | wrong
        with pytest.raises(ValueError, match="initial block"):
            Attention(4, 2, initial=4, **settings)  # type: ignore[arg-type]


def test_positions_count_in_laps() -> None:
    at = Positions(10, 4, restart=6).position(torch.arange(-2, 20))
    assert at.tolist() == [0, 0, *range(10), 6, 7, 8, 9, 6, 7, 8, 9, 6, 7]
    table = sinusoids(3, 4).double()
    angle = torch.tensor([[0, 0], [1, 1e-4], [2, 2e-4]], dtype=torch.float64)
    torch.testing.assert_close(table, torch.cat([angle.sin(), angle.cos()], 1), atol=1e-7, rtol=0)


def test_windows_stand_by_themselves() -> None:
    """With whole windows, what lies in one says nothing about the next but at the seam of the convolutions."""
    encoder = small().encoder.at(Context.windows(40))
    mel = torch.randn(1, 160, 10)
    other = mel.clone()
    other[:, :70] = 0.0
    with torch.inference_mode():
        a, b = (encoder(Frames.whole(x)).data for x in (mel, other))
    assert torch.equal(a[:, 40:], b[:, 40:]) and not torch.equal(a[:, :40], b[:, :40])


def test_one_set_of_weights() -> None:
    model = small()
    adapt(model, 2)
    other = model.encoder.at(CONFIG.contexts[1])
    assert model.encoder.at(CONFIG.contexts[0]) is model.encoder
    assert {id(p) for p in other.parameters()} == {id(p) for p in model.encoder.parameters()}
    assert other.get_buffer("positions.table") is model.encoder.get_buffer("positions.table")
    assert not any(x.is_meta for x in [*other.parameters(), *other.buffers()])
    mel = Frames.whole(torch.randn(1, 60, 10))
    with torch.inference_mode():
        assert not torch.equal(other(mel).data, model.encoder(mel).data)


def test_the_delay_is_the_chunk_and_ten_milliseconds() -> None:
    """The last of 4 frames, a chunk of 80 ms, needs mel frames 0 to 8."""
    timing = Timing.of(small().encoder, rate=100.0)
    assert timing.chunk_ms == pytest.approx(80) and timing.latency_ms == pytest.approx(90)
    assert timing.look_ahead_ms == pytest.approx(80)  # of the chunk's first frame


@pytest.mark.parametrize("change", [{"chunk": 0}, {"left": 5}, {"initial": 3}, {"sinks": -1}])
def test_contexts_that_cannot_be_run(change: dict[str, int]) -> None:
    with pytest.raises(SpeechError, match="whole chunks"):
        replace(Context.causal(4, 8, 40), **change)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(SpeechError, match="the heads divide"):
        replace(CONFIG, encoder_heads=5)
    for context in (*CONFIG.contexts, Context(20, 20, 40), Context(40, 40)):
        with pytest.raises(SpeechError, match="restarting below the 20 positions, and chunks and initial blocks"):
            replace(CONFIG, positions=20, contexts=(context,))
