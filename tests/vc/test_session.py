"""Live conversion: equal to whole recordings however it is cut, late by what it states, whole after changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.audio.limiter import KNEE, limited
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from speech.streaming.module import Delay, Pointwise, Sequential, State, Streaming
from speech.streaming.resample import Resample
from speech.vc.conditions import Conditions
from speech.vc.converter import Converter
from speech.vc.session import ConversionStream, Setup
from speech.vc.timbre import TokenConfig, TokenTimbre
from tests.vc.small import SPEAKER, small_converter, voice

CASES = [(False, 8000), (False, 16000), (False, 44100), (True, 16000)]


@pytest.fixture(scope="module")
def converters() -> dict[bool, Converter]:
    return {second: small_converter(second=second) for second in (False, True)}


@pytest.fixture(scope="module")
def wholes(converters: dict[bool, Converter]) -> dict[tuple[bool, int], np.ndarray]:
    return {case: converters[case[0]].convert(voice(0.5, case[1]), sample_rate=case[1]).samples for case in CASES}


@pytest.mark.parametrize(("second", "rate"), CASES)
@settings(max_examples=3, deadline=None)
@given(cuts=st.lists(st.integers(0, 20000), max_size=6))
def test_a_stream_gives_what_the_whole_recording_gives(
    converters: dict[bool, Converter],
    wholes: dict[tuple[bool, int], np.ndarray],
    second: bool,
    rate: int,
    cuts: list[int],
) -> None:
    x, stream = voice(0.5, rate), converters[second].stream(rate)
    pieces, received = [], 0
    for part in np.split(x, sorted(min(cut, len(x)) for cut in cuts)):
        pieces.append(stream.push(part))
        received += len(part)
        assert sum(map(len, pieces)) == received * stream.output_rate // rate
    out = np.concatenate([*pieces, stream.flush()])
    assert out.dtype == np.float32 and not out[: stream.delay].any()
    assert len(wholes[second, rate]) == 8000 and wholes[second, rate].std() > 0.05
    np.testing.assert_allclose(out[stream.delay :], wholes[second, rate], atol=1e-4)
    assert stream.muted_chunks == 0 and np.abs(out).max() <= 1


def test_what_is_ready_can_be_had_at_once(converters: dict[bool, Converter]) -> None:
    """The same samples as by `push`, earlier: none wait but for the chunk to be complete."""
    x, paced, eager = voice(0.5), converters[False].stream(16000), converters[False].stream(16000)
    late = [paced.push(part) for part in np.split(x, 25)]
    early = [eager.feed(part) for part in np.split(x, 25)]
    ahead = np.cumsum([len(part) for part in early]) - np.cumsum([len(part) for part in late])
    assert ahead.min() >= 0 and ahead.max() >= eager.chunk // 2
    assert not len(eager._ready) and sum(map(bool, map(len, early))) <= 1 + len(x) // eager.chunk
    whole = [np.concatenate([*parts, stream.flush()]) for parts, stream in ((late, paced), (early, eager))]
    np.testing.assert_allclose(whole[0], whole[1], atol=1e-6)


class Blocks(Delay):
    """A delay that runs in whole blocks, as the network does."""

    @property
    def grain(self) -> int:
        return 320

    def first(self, start: int) -> int:
        return (start - self.look_ahead) // 320 * 320

    def init_state(self, slots, device=None, dtype=None):  # type: ignore[no-untyped-def]
        return {"tail": torch.zeros(slots, self.look_ahead + 319, 1, device=device, dtype=dtype)}

    def step(self, frames, state, slots):  # type: ignore[no-untyped-def]
        out = self.moved(frames.place, frames.place.count)
        seen = torch.cat([state["tail"][slots], frames.data], 1)
        state["tail"][slots] = seen[:, -state["tail"].shape[1] :]
        begin = state["tail"].shape[1] - (frames.place.phase - out.phase)
        return type(frames)(seen[:, begin : begin + frames.place.count], out)


class Heedless(Conditions):
    """Whatever the target is, nothing changes."""

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        return frames


def passing(sample_rate: int, output_rate: int) -> ConversionStream:
    """A stream at 16 kHz within whose networks change nothing."""
    timbre = TokenTimbre(TokenConfig(1, 1, 1), 1, 1)
    stages: dict[str, Streaming] = {
        "content": Pointwise(lambda x: x[..., None]),
        "network": Sequential(timbre=Heedless(timbre, 1, 1), blocks=Blocks(1, 100)),
        "vocoder": Pointwise(lambda x: x[..., 0]),
    }
    if sample_rate != 16000:
        stages = {"resampling_in": Resample(sample_rate, 16000), **stages}
    if output_rate != 16000:
        stages["resampling_out"] = Resample(16000, output_rate)
    with torch.no_grad():
        target = timbre.target(torch.zeros(1, 1))
    return ConversionStream(Setup(Sequential(**stages), sample_rate, output_rate), lambda _: target, "self")


@pytest.mark.parametrize("rates", [(16000, 16000), (48000, 16000), (44100, 48000), (8000, 22050)])
def test_the_delay_is_what_is_stated(rates: tuple[int, int]) -> None:
    """What goes in comes out so many samples later, and at the end in full."""
    into, out = rates
    stream = passing(into, out)
    assert round(stream.latency.total * out) == pytest.approx(stream.latency.total * out, abs=1e-6)
    assert stream.delay == round(stream.latency.total * out)
    tone = np.sin(2 * np.pi * 440 * np.arange(into // 4) / into).astype(np.float32) / 2
    heard = np.concatenate([*(stream.push(part) for part in np.array_split(tone, 7)), stream.flush()])
    assert len(heard) == stream.delay + -(-len(tone) * out // into)
    wanted = np.sin(2 * np.pi * 440 * np.arange(len(heard) - stream.delay) / out) / 2
    edge = 0 if rates == (16000, 16000) else out // 50  # where resampling hears the tone begin and end
    inside = slice(edge, len(wanted) - edge)
    np.testing.assert_allclose(heard[stream.delay :][inside], wanted[inside], atol=1e-3)


def test_the_delay_is_no_longer_than_it_must_be() -> None:
    """Sample by sample, there is a moment in which nothing is kept back that is ready."""
    stream = passing(16000, 16000)
    left = [len(stream._ready) for _ in range(1000) if len(stream.push(np.zeros(1, np.float32)))]
    assert min(left) <= 1
    assert stream.latency.total == pytest.approx((320 + 100 + stream._driver.phase - 0) / 16000, abs=320 / 16000)


@pytest.mark.parametrize("second", [False, True])
def test_the_parts_of_the_latency(converters: dict[bool, Converter], second: bool) -> None:
    converter = converters[second]
    own, resampled = converter.latency, converter.stream(48000, output_rate=48000).latency
    assert own == converter.stream(16000).latency
    assert own.resampling_in == own.resampling_out == 0 and own.vocoder >= 0.02
    assert (own.look_ahead > 0.04) == second and own.total < 0.3
    assert 0.001 < resampled.resampling_in < 0.004 and 0.001 < resampled.resampling_out < 0.004
    assert own.total < resampled.total < own.total + 0.02


def test_the_target_changes_within_a_stream(converters: dict[bool, Converter]) -> None:
    """From the next step on, and nothing of the stream's memory is lost."""
    x, converter = voice(0.6), converters[False]
    alone = [converter.convert(x, name, 16000).samples for name in ("anna", "ben")]
    stream = converter.stream(16000, "anna")
    pieces = [stream.push(x[:4800])]
    kept = stream.seats[0].save()
    made = stream._driver.emitted
    stream.target = "ben"
    assert stream.target == "ben" and stream.seats[0].save() == kept
    with pytest.raises(SpeechError, match="expected a target of anna, ben, got 'nobody'"):
        stream.target = "nobody"
    assert stream.target == "ben"
    out = np.concatenate([*pieces, stream.push(x[4800:]), stream.flush()])[stream.delay :]
    np.testing.assert_allclose(out[:made], alone[0][:made], atol=1e-4)
    difference = [np.abs(out[made:] - whole[made:]).mean() for whole in alone]
    assert difference[0] > 1.5 * difference[1]


def test_a_step_that_goes_wrong_is_silent_and_counted(converters: dict[bool, Converter]) -> None:
    converter, x = converters[False], voice(0.8)
    bad = replace(converter._target("anna"), speaker=torch.full((1, SPEAKER), torch.inf))
    stream = ConversionStream(
        converter._setup(16000, 16000), lambda name: bad if name == "bad" else converter._target(name), "anna"
    )
    pieces = []
    for name, part in zip(("anna", "bad", "anna", "ben"), np.split(x, [5120, 6400, 9000]), strict=True):
        stream.target = name
        pieces.append(stream.push(part))
    out = np.concatenate([*pieces, stream.flush()])
    assert stream.muted_chunks == 1 and len(out) == len(x) + stream.delay
    assert np.isfinite(out).all() and np.abs(out).max() <= 1
    silent = np.flatnonzero(out[stream.delay :] == 0)
    assert 1280 <= len(silent) < 1300 and silent[-1] - silent[0] == len(silent) - 1
    assert out[-4000:].std() > 0.05


def test_what_cannot_be_pushed(converters: dict[bool, Converter]) -> None:
    with converters[False].stream(16000) as stream:
        assert len(stream.push(np.full(500, 3000, np.int16))) == 500
        for samples in (np.zeros(4), np.zeros((4, 2), np.float32), np.full(4, np.nan, np.float32), [0.0]):
            with pytest.raises(SpeechError, match="expected"):
                stream.push(samples)  # type: ignore[arg-type]
        stream.flush()
        with pytest.raises(SpeechError, match="it was flushed: open another"):
            stream.push(np.zeros(4, np.float32))
        with pytest.raises(SpeechError, match="flushed"):
            stream.flush()
    with pytest.raises(SpeechError, match="it was closed"):
        stream.flush()
    with converters[False].stream(16000) as empty:
        assert len(empty.flush()) == empty.delay


@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=20))
def test_the_limiter_keeps_full_scale_and_order(samples: list[float]) -> None:
    x = np.sort(np.array(samples, np.float32))
    y = limited(x)
    assert np.abs(y).max() <= 1 and (np.diff(y) >= 0).all()
    quiet = np.abs(x) <= KNEE
    assert np.array_equal(y[quiet], x[quiet])
    np.testing.assert_allclose(limited(-x), -y)
