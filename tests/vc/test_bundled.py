"""The converter that ships with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import speech
from speech.audio.file import read
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
