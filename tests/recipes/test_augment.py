from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")

import torch

from recipes.asr_small.augment import AugmentConfig, SpecAugmentConfig, add_noise, augment, reverberate, spec_augment

RATE = 16000


def tone(seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_noise_has_the_asked_ratio_and_is_repeated_when_short() -> None:
    rng = np.random.default_rng(0)
    x, noise = tone(), rng.standard_normal(3000).astype(np.float32)
    added = add_noise(x, noise, 12.0, rng) - x
    assert 10 * np.log10((x**2).mean() / (added**2).mean()) == pytest.approx(12.0, abs=0.01)


def test_reverberation_keeps_the_onset_and_decays() -> None:
    click = np.zeros(RATE, np.float32)
    click[2000] = 1
    wet = reverberate(click, 0.3, 0.0, np.random.default_rng(1))
    assert len(wet) == len(click)
    assert np.abs(wet[:2000]).max() < 1e-4
    assert wet[2000] == pytest.approx(1, abs=1e-4)
    tail = wet[2001:]
    assert (tail**2).sum() == pytest.approx(1, rel=0.01)  # as loud as the direct path: 0 dB
    early, late = (tail[a : a + 400] ** 2 for a in (400, 400 + round(0.15 * RATE)))
    assert 10 * np.log10(early.mean() / late.mean()) == pytest.approx(30, abs=3)  # half of 60 dB after half the decay


def test_hiss_fills_digital_silence_at_its_level() -> None:
    config = AugmentConfig(speeds=(1.0,), noise=0, reverberation=0, hiss=1.0, hiss_db=(-60.0, -60.0))
    hiss = augment(np.zeros(RATE, np.float32), [], config, np.random.default_rng(0))
    assert 20 * np.log10(hiss.std()) == pytest.approx(-60, abs=0.2)


def test_augment_is_drawn_from_its_generator_alone_and_never_clips() -> None:
    noises = [np.random.default_rng(2).standard_normal(8000).astype(np.float32)]
    config = AugmentConfig(noise=1.0, reverberation=1.0, gain_db=(20.0, 20.0))
    first, second = (augment(tone(), noises, config, np.random.default_rng((7, 3))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 1


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_length_and_pitch(speed: float) -> None:
    config = AugmentConfig(speeds=(speed,), noise=0, reverberation=0, gain_db=(0.0, 0.0))
    y = augment(tone(), [], config, np.random.default_rng(0))
    assert len(y) == pytest.approx(RATE / speed, abs=2)
    peak = np.abs(np.fft.rfft(y)).argmax() * RATE / len(y)
    assert peak == pytest.approx(440 * speed, abs=2)


def test_spec_augment_masks_by_the_mean_within_its_limits() -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(3, 200, 80) + 5, torch.tensor([200, 120, 40])
    y = spec_augment(x, lengths, SpecAugmentConfig(bands=0), 1)
    changed = (y != x).all(2)
    assert changed.any(1).all()
    for i, n in enumerate(lengths):
        assert not changed[i, n:].any()
        assert changed[i].sum() <= 10 * (0.05 * n + 1)
        torch.testing.assert_close(y[i][changed[i]], x[i, :n].mean().expand(int(changed[i].sum()), 80))
    torch.testing.assert_close(y, spec_augment(x, lengths, SpecAugmentConfig(bands=0), 1))
    bands = (spec_augment(x, lengths, SpecAugmentConfig(times=0), 1) != x).all(1)
    assert (bands.sum(1) <= 2 * 28).all()
