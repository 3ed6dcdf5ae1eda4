"""Phase, look-ahead and latency."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.asr.encoder import Encoder, EncoderConfig
from speech.audio.mel import LogMel
from speech.errors import SpeechError
from speech.streaming.attention import Attention
from speech.streaming.conv import Conv1d, ConvTranspose1d
from speech.streaming.module import Parallel, Residual, Sequential, Streaming
from speech.streaming.resample import Resample
from speech.streaming.timing import Timing, last_needed, phase_for, start_of
from tests.streaming.registry import REGISTRY


def _pipeline(context: tuple[int, int], *, causal: bool = True) -> Sequential:
    """The default front end and encoder, without its weights."""
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(layers=2, causal_subsampling=causal), context)
    return Sequential(mel=LogMel(), encoder=encoder)


@pytest.mark.parametrize("ahead", [13, 6, 1, 0])
def test_the_recogniser_starts_its_stream_at_minus_1080_samples(ahead: int) -> None:
    pipeline = _pipeline((70, ahead))
    assert phase_for(pipeline) == -1080 and pipeline.first(-1080) == 0
    timing = Timing.of(pipeline, rate=16000)
    assert timing.hop == 0.08 and timing.chunk_ms == 80 * (ahead + 1)
    assert timing.look_ahead_ms == pytest.approx(80 * ahead + 1e3 * 199 / 16000)  # half a mel window beyond the chunk
    assert timing.latency_ms == pytest.approx(80 * ahead + 12.5)


def test_a_front_end_that_looks_ahead_drops_its_first_output() -> None:
    pipeline = _pipeline((70, 0), causal=False)
    assert phase_for(pipeline) == -1240 and pipeline.first(-1240) == -1
    assert Timing.of(pipeline, rate=16000).latency_ms == pytest.approx(82.5)


@pytest.mark.parametrize("name", REGISTRY)
def test_the_best_phase_waits_least(name: str) -> None:
    module = REGISTRY[name].module
    best = phase_for(module)

    def wait(phase: int) -> int:
        return phase * module.up - module.first(phase) * module.down

    assert best <= 0
    assert wait(best) == min(wait(phase) for phase in range(-module.grain, 1))
    timing = Timing.of(module, rate=1000)
    assert timing.latency_ms >= timing.look_ahead_ms
    assert Timing.of(module, 1000, 3 * module.grain).latency_ms == timing.latency_ms + 2 * module.grain


@pytest.mark.parametrize("name", REGISTRY)
def test_inverses_of_first(name: str) -> None:
    module = REGISTRY[name].module
    for output in range(-3, 4):
        start = start_of(module, output)
        assert module.first(start) >= output > module.first(start - 1)
        assert module.first(last_needed(module, output)) <= output


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_look_ahead_of_a_sequence_of_strides_is_exact(layers: list[tuple[int, int, int]]) -> None:
    convs: dict[str, Streaming] = {
        f"{i}": Conv1d(1, 1, left, right, stride=s) for i, (left, right, s) in enumerate(layers)
    }
    stack = Sequential(**convs)
    ahead, stride = 0, 1
    for _, right, s in layers:
        ahead, stride = ahead + right * stride, stride * s
    assert (stack.look_ahead, stack.down, stack.grain) == (ahead, stride, stride)
    for start in range(-stride, stride + 1):
        assert stack.first(start) == -((ahead - start) // stride)
    assert last_needed(stack, 5) == 5 * stride + ahead


def test_parallel_branches_wait_for_the_longest() -> None:
    branches = Parallel(1, a=Conv1d(1, 1, 0, 1, stride=2), b=Conv1d(1, 1, 0, 4, stride=2))
    assert branches.look_ahead == 4 and [branches.first(s) for s in (0, 1, 2)] == [-2, -1, -1]
    assert branches.waits == {"a": 2, "b": 0}
    assert Residual(1, Conv1d(1, 1, 2, 3)).first(0) == -3


def test_branches_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="one rate"):
        Parallel(1, a=Conv1d(1, 1, 1), b=Conv1d(1, 1, 1, stride=2))
    with pytest.raises(ValueError, match="one length"):
        Parallel(1, a=Conv1d(1, 1, 1, stride=2), b=Conv1d(1, 1, 1, stride=2, tail=1))
    with pytest.raises(ValueError, match="rate 1"):
        Residual(1, Conv1d(1, 1, 1, stride=2))


def test_grain_through_rates() -> None:

    def attention(chunk: int) -> Attention:
        return Attention(4, 1, left=chunk, chunk=chunk)

    assert Sequential(a=attention(4), b=attention(6)).grain == 12
    assert Sequential(conv=Conv1d(4, 4, 1, stride=2), a=attention(3)).grain == 6
    assert Sequential(conv=ConvTranspose1d(4, 4, 4, stride=4), a=attention(6)).grain == 3
    assert Resample(44100, 16000).grain == 441


def test_illegal_timing_is_refused() -> None:
    with pytest.raises(SpeechError, match="multiple of 2"):
        Timing.of(Conv1d(1, 1, 1, stride=2), 100, chunk=3)
