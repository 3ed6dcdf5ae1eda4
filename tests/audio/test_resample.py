"""Stateful resampling: the same whatever the cuts, right in length and in content."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.audio.resample import Resampler, resample
from speech.errors import SpeechError

RATES = st.sampled_from([(48000, 16000), (44100, 16000), (8000, 16000), (16000, 24000), (11025, 16000), (16000, 16000)])


@settings(max_examples=25, deadline=None)
@given(rates=RATES, cuts=st.lists(st.integers(0, 3000), max_size=6), seed=st.integers(0, 9))
def test_cuts_do_not_matter(rates: tuple[int, int], cuts: list[int], seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(4000).astype(np.float32)
    resampler, edges = Resampler(*rates), [0, *sorted(cuts), len(x)]
    pieces = [resampler.push(x[a:b]) for a, b in pairwise(edges)]
    cut = np.concatenate([*pieces, resampler.flush()])
    np.testing.assert_array_equal(cut, resample(x, *rates))
    assert len(cut) == pytest.approx(len(x) * rates[1] / rates[0], abs=0.5)


def test_a_resampler_serves_one_stream_after_another() -> None:
    x = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    resampler = Resampler(44100, 16000)
    first, second = (np.concatenate([resampler.push(x), resampler.flush()]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rates", [(48000, 16000), (44100, 16000), (8000, 16000)])
def test_a_tone_keeps_its_pitch_and_its_time(rates: tuple[int, int]) -> None:
    tones = [np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate) for rate in rates]
    middle = slice(1000, -1000)
    np.testing.assert_allclose(resample(tones[0], *rates)[middle], tones[1][middle], atol=2e-4)


def test_equal_rates_are_the_identity() -> None:
    x = np.arange(5, dtype=np.float32)
    resampler = Resampler(16000, 16000)
    assert resampler.push(x) is x
    assert len(resampler.flush()) == 0


@pytest.mark.parametrize(
    "rates", [(0, 16000), (16000, 0), (-8000, 16000), (float("nan"), 16000), (16000, 1), (1e13, 16000), ("8k", 16000)]
)
def test_impossible_rates(rates: tuple[float, float]) -> None:
    with pytest.raises(SpeechError, match="sample rate of 100 to 10000000 Hz"):
        Resampler(*rates)


def test_stereo_is_refused() -> None:
    with pytest.raises(SpeechError, match="mono"):
        Resampler(48000, 16000).push(np.zeros((10, 2)))
