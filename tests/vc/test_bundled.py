"""The converter that ships with the package."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import speech
from speech.audio.file import Audio, read
from speech.hub.find import locate

DEMO = Path(__file__).parents[2] / "demo" / "demo.flac"


@pytest.fixture(scope="module")
def converter() -> speech.Converter:
    return speech.load("vc", "cpu")


def test_it_is_small_and_soon(converter: speech.Converter) -> None:
    assert len(converter.targets) >= 4
    assert sum(file.stat().st_size for file in locate("vc").iterdir()) < 40e6
    assert sum(p.numel() for p in converter.model.parameters()) < 20e6
    assert converter.latency.total <= 0.2


def test_whole_and_live_conversions_are_the_same(converter: speech.Converter) -> None:
    recording = read(DEMO)
    samples, rate = recording.samples[: 4 * recording.sample_rate], recording.sample_rate
    target = converter.targets[-1]
    whole = converter.convert(samples, target, rate).samples
    assert whole.std() > 0.01 and np.isfinite(whole).all()
    with converter.stream(rate, target) as stream:
        parts = [stream.push(samples[i : i + 777]) for i in range(0, len(samples), 777)]
        live = np.concatenate([*parts, stream.flush()])[stream.delay :][: len(whole)]
    np.testing.assert_allclose(live, whole, atol=1e-4)


def test_two_targets_are_two_voices(converter: speech.Converter) -> None:
    recording = read(DEMO)
    samples = recording.samples[: 2 * recording.sample_rate]
    first, second = (converter.convert(samples, name, recording.sample_rate).samples for name in converter.targets[:2])
    assert np.abs(first - second).max() > 0.05


def test_a_switch_of_target_makes_no_click(converter: speech.Converter) -> None:
    """Where one voice ends and another begins, no sample is much further from the next than around there."""
    recording = read(DEMO)
    samples, voices = recording.samples[: 4 * recording.sample_rate], converter.targets
    with converter.stream(recording.sample_rate, voices[0]) as stream:
        parts, switched = [], []
        for number, begin in enumerate(range(0, len(samples), stream.chunk)):
            if number % 5 == 4:
                stream.target = voices[number % len(voices)]
                switched.append(stream._driver.emitted)
            parts.append(stream.push(samples[begin : begin + stream.chunk]))
        made = np.concatenate(parts)[stream.delay :]
    steps, near, around = np.abs(np.diff(made)), 2, round(0.025 * recording.sample_rate)
    within = [at for at in switched if around <= at < len(steps) - around]
    assert len(within) > 5
    for at in within:
        before, there, after = steps[at - around : at - near], steps[at - near : at + near], steps[at + near :][:around]
        assert there.max() < 1.5 * max(before.max(), after.max())


def test_a_reference_of_two_people_is_warned_of(converter: speech.Converter, shared: Path) -> None:
    def said(speaker: str, number: int) -> np.ndarray:
        return read(shared / "data" / "cmu_arctic" / f"arctic-{speaker}_arctic_a000{number}.opus").samples[:48000]

    with pytest.warns(UserWarning, match="the recording sounds as if two people spoke in it"):
        converter.add_target("both", Audio(np.concatenate([said("bdl", 1), said("clb", 1)]), 16000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converter.add_target("one", Audio(np.concatenate([said("bdl", 1), said("bdl", 2)]), 16000))


def test_silence_at_the_end_stays_silent(converter: speech.Converter) -> None:
    """What is beyond the end of the recording is silence, too, for all that looks ahead."""
    recording = read(DEMO)
    rate = recording.sample_rate
    samples = np.concatenate([recording.samples[: 2 * rate], np.zeros(rate // 2, np.float32)])
    for name in converter.targets[:2]:
        made = converter.convert(samples, name, rate).samples
        assert len(made) == len(samples) * converter.output_rate // rate
        before, end = np.abs(made[-3200:-960]).max(), np.abs(made[-960:]).max()
        assert np.abs(made).max() > 0.05 and end < 2 * before + 1e-3


def test_a_faint_recording_and_one_behind_a_pause_make_as_loud_a_voice(converter: speech.Converter) -> None:
    recording = read(DEMO)
    rate, friend = recording.sample_rate, recording.samples * np.float32(0.05 / recording.samples.std())
    late = np.concatenate([np.zeros(12 * rate, np.float32), friend])
    levels = []
    for name, x in {"plain": friend, "faint": friend * 0.01, "late": late}.items():
        converter.add_target(name, Audio(x, rate))
        levels.append(float(converter.convert(recording.samples[: 2 * rate], name, rate).samples.std()))
    assert levels[0] > 0.01
    np.testing.assert_allclose(levels, levels[0], rtol=0.25)
