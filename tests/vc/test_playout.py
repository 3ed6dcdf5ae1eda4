"""Samples by place: what was left out shifts nothing, what lacks is silent without a click."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.vc.gate import Gate
from speech.vc.playout import MISSING, SILENT, Clock, Placement, PlayOut, Seam, Track, stretch


@settings(max_examples=40, deadline=None)
@given(
    blocks=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), min_size=1, max_size=12),
    delay=st.integers(0, 25),
    factor=st.sampled_from([1, 2, 3]),
)
def test_outputs_lie_where_their_input_lay(blocks: list[tuple[int, int]], delay: int, factor: int) -> None:
    placement, waiting, position = Placement(100, 100 * factor, delay), list(np.full(delay, -1.0)), 7
    for gap, count in blocks:
        position += gap
        numbers = np.arange(position * factor, (position + count) * factor)
        placement.push(position, count)
        waiting += list(numbers)
        out, waiting = np.array(waiting[: count * factor]), waiting[count * factor :]
        for start, piece in placement.place(out):
            real = piece >= 0
            np.testing.assert_array_equal(piece[real], (start + np.arange(len(piece)))[real])
        position += count


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(-8, 40), st.integers(1, 30), st.integers(1, 15)), min_size=1, max_size=15))
def test_a_reader_gets_what_was_written_in_time(steps: list[tuple[int, int, int]]) -> None:
    play, truth = PlayOut(1, 50), {}
    for ahead, count, wanted in steps:
        start = play.position + ahead
        late = play.write(0, start, np.arange(start, start + count, dtype=np.float32))
        assert late == min(count, max(0, -ahead))
        truth |= {i: float(i) for i in range(max(start, play.position), min(start + count, play.position + 50))}
        expected = [truth.get(i, MISSING) for i in range(play.position, play.position + wanted)]
        np.testing.assert_array_equal(play.read(wanted)[0], np.float32(expected))


@pytest.mark.parametrize("step", [-200, -20, 20, 200])
def test_after_a_jump_nothing_stale_is_read(step: int) -> None:
    play = PlayOut(1, 100)
    play.write(0, 0, np.ones(100, np.float32))
    play.read(30)
    play.seek(30 + step)
    left = {i for i in range(30, 100) if 30 + step <= i < 130 + step}
    read = play.read(100)[0]
    assert {30 + step + i for i in np.flatnonzero(~np.isnan(read))} == left


def test_silence_covers_what_never_comes() -> None:
    play = PlayOut(1, 100)
    track = Track(play, 0, lambda x: x, 100, 200, delay=0.1)
    track.push(0, np.ones(10, np.float32))
    track.silence(20)
    read = play.read(60)[0]
    assert np.isposinf(read[:40]).all() and np.isnan(read[40:]).all()


@pytest.mark.parametrize("gap", [MISSING, SILENT])
@pytest.mark.parametrize("length", [1, 40, 700])
def test_gaps_do_not_click(gap: float, length: int) -> None:
    rate = 16000
    x = 0.8 * np.cos(2 * np.pi * 100 * np.arange(4 * rate // 10) / rate).astype(np.float32)
    x[2000 : 2000 + length] = gap
    seam = Seam(rate)
    y = np.concatenate([seam(block) for block in np.split(x, 40)])
    assert np.isfinite(y).all()
    assert np.abs(np.diff(y)).max() < 0.08
    np.testing.assert_allclose(y[2200 + length : 6000], x[2200 + length : 6000], atol=0.01)
    if length > 300:
        assert np.abs(y[2250 : 2000 + length]).max() < 1e-3


def test_cuts_do_not_matter_to_a_seam() -> None:
    x = np.random.default_rng(0).normal(0, 0.2, 900).astype(np.float32)
    x[300:350] = MISSING
    whole, parts = Seam(8000), Seam(8000)
    np.testing.assert_allclose(np.concatenate([parts(p) for p in np.split(x, [7, 310, 345, 600])]), whole(x), atol=1e-6)


def test_one_sample_more_or_less_is_the_same_sound() -> None:
    x = np.sin(2 * np.pi * 5 * np.arange(480) / 480)[None]
    for count in (479, 480, 481):
        assert np.abs(stretch(x, count) - np.sin(2 * np.pi * 5 * np.arange(count) / count)).max() < 0.02


def test_a_clock_follows_drift_and_takes_a_jump() -> None:
    clock, noise = Clock(1000), np.random.default_rng(0)
    for i in range(0, 20000, 10):
        clock.update(i, 5 + i / 1000 * (1 + 1e-4) + noise.normal(0, 0.003))
    assert clock.time(20000) == pytest.approx(25.002, abs=0.001)
    assert 0.006 < clock.spread < 0.01
    for i in range(20000, 20300, 10):
        clock.update(i, 5.1 + i / 1000)
    assert clock.time(20300) == pytest.approx(25.4, abs=0.001)


def test_a_clock_is_not_moved_by_time_stamps_that_are_rounded_or_late() -> None:
    clock = Clock(1000)
    for i in range(1000):
        wrong = -0.06 * (i % 10 < 4) + 0.2 * (i % 97 == 5)
        clock.update(5 * i, 7 + 0.005 * i + wrong)
    assert clock.time(5000) == pytest.approx(12.0, abs=1e-9)


def test_a_gate_holds_back_whole_chunks_of_silence() -> None:
    gate = Gate(1000, 80, -50, 0.2, pre_roll=0.03)
    x = np.zeros(1000, np.float32)
    x[:100] = x[731:] = 0.5
    passed = [part for i in range(0, 1000, 10) if (part := gate.push(i, x[i : i + 10])) is not None]
    ends = [(start, start + len(part)) for start, part in passed]
    (edge,) = (i for i in range(1, len(ends)) if ends[i][0] != ends[i - 1][1])
    left_out = ends[edge][0] - ends[edge - 1][1]
    assert left_out > 0 and left_out % 80 == 0
    assert ends[edge][0] <= 730 - 30 and ends[-1][1] == 1000
    for start, part in passed:
        np.testing.assert_array_equal(part, x[start : start + len(part)])
