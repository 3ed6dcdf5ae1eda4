from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.tts_small.yin import yin

RATE, HOP = 16000, 160


@settings(max_examples=20, deadline=None)
@given(st.floats(70, 480), st.floats(0.01, 0.9), st.integers(1, 12))
def test_a_tone_with_harmonics_has_its_pitch(hertz: float, level: float, harmonics: int) -> None:
    t = np.arange(8000) / RATE
    x = level * sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, harmonics + 1))
    f0 = yin(np.asarray(x), RATE, HOP)
    assert f0.shape == (50,)
    np.testing.assert_allclose(f0[4:-4], hertz, rtol=3e-3)


def test_a_glide_is_followed_frame_by_frame() -> None:
    hertz = np.linspace(80, 400, 32000)
    f0 = yin(np.sin(2 * np.pi * np.cumsum(hertz) / RATE), RATE, HOP)
    np.testing.assert_allclose(f0[4:-4], hertz[HOP // 2 :: HOP][4:-4], atol=1.5)  # centred: no delay


def test_noise_silence_and_nothing_have_no_voice() -> None:
    rng = np.random.default_rng(0)
    assert (yin(0.1 * rng.standard_normal(16000), RATE, HOP) > 0).mean() < 0.02
    assert not yin(np.zeros(16000), RATE, HOP).any()
    assert yin(np.zeros(100), RATE, HOP).shape == (0,)


@pytest.mark.parametrize(("corpus", "low", "high"), [("cmu_arctic", 80, 260), ("ljspeech", 140, 300)])
def test_recorded_voices_lie_where_they_should(shared: Path, corpus: str, low: float, high: float) -> None:
    import soundfile
    import soxr

    file = min((shared / "data" / corpus).glob("*.opus"))
    samples, rate = soundfile.read(file, dtype="float32")
    f0 = yin(soxr.resample(samples, rate, RATE), RATE, HOP)
    voiced = f0[f0 > 0]
    assert 0.25 < len(voiced) / len(f0) < 0.85
    assert low < np.median(voiced) < high
    jumps = np.abs(np.diff(np.log2(f0[f0 > 0])))
    assert (jumps > 0.8).mean() < 0.03  # octave errors
