"""Augmentation of waveforms (numpy, in the loader) and of features (torch, on the device)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from recipes.common.cache import RATE


@dataclass(frozen=True)
class AugmentConfig:
    """What happens to a waveform, each with its probability; ranges are uniform.

    hiss: white noise, its level in dB of full scale, which digitally silent recordings lack.
    """

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    noise: float = 0.4
    snr_db: tuple[float, float] = (5.0, 30.0)
    reverberation: float = 0.25
    decay_seconds: tuple[float, float] = (0.1, 0.6)
    direct_db: tuple[float, float] = (0.0, 15.0)
    gain_db: tuple[float, float] = (-15.0, 3.0)
    hiss: float = 0.0
    hiss_db: tuple[float, float] = (-100.0, -54.0)


@dataclass(frozen=True)
class SpecAugmentConfig:
    """SpecAugment (Park et al. 2019, arXiv 1904.08779).

    bands_width: mel bins at the most; time_width: share of the utterance at the most. start: the step it begins at.
    """

    bands: int = 2
    bands_width: int = 27
    times: int = 10
    time_width: float = 0.05
    start: int = 0


def augment(x: np.ndarray, noises: Sequence[np.ndarray], config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Speed, room, noise and level of one utterance, in the order in which they occur in the world. x: [n] -> [n']."""
    speed = float(rng.choice(config.speeds))
    if speed != 1:
        x = soxr.resample(x, RATE * speed, RATE, quality="MQ")
    if rng.random() < config.reverberation:
        x = reverberate(x, rng.uniform(*config.decay_seconds), rng.uniform(*config.direct_db), rng)
    if len(noises) and rng.random() < config.noise:
        x = add_noise(x, noises[int(rng.integers(len(noises)))], rng.uniform(*config.snr_db), rng)
    x = x * 10 ** (rng.uniform(*config.gain_db) / 20)
    if rng.random() < config.hiss:
        x = x + rng.standard_normal(len(x), dtype=np.float32) * 10 ** (rng.uniform(*config.hiss_db) / 20)
    return (x / max(1.0, float(np.abs(x).max(initial=0)))).astype(np.float32)


def reverberate(x: np.ndarray, decay: float, direct_db: float, rng: np.random.Generator) -> np.ndarray:
    """Convolve with a direct path and an exponentially decaying noise tail (Polack's model). x: [n] -> [n].

    decay: seconds until the tail has fallen by 60 dB; direct_db: energy of the direct path over that of the tail.
    The direct path comes first, so words stay where they were.
    """
    t = np.arange(round(decay * RATE)) / RATE
    tail = rng.standard_normal(len(t)).astype(np.float32) * np.exp(-3 * np.log(10) * t / decay, dtype=np.float32)
    tail[: round(0.002 * RATE)] = 0
    tail *= 10 ** (-direct_db / 20) / max(float(np.sqrt((tail**2).sum())), 1e-9)
    tail[0] = 1
    size = 1 << (len(x) + len(tail) - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[: len(x)].astype(np.float32)


def add_noise(x: np.ndarray, noise: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Add a random stretch of `noise` (repeated if it is short) at a signal-to-noise ratio in dB. x: [n] -> [n]."""
    begin = int(rng.integers(len(noise)))
    stretch = np.take(noise, np.arange(begin, begin + len(x)), mode="wrap")
    power, wanted = float((stretch**2).mean()), float((x**2).mean()) / 10 ** (snr_db / 10)
    return x + stretch * np.sqrt(wanted / max(power, 1e-10))


def spec_augment(features: Tensor, lengths: Tensor, config: SpecAugmentConfig, seed: int) -> Tensor:
    """Mask bands and stretches of time by every utterance's mean. features: [b, t, f]; lengths: [b] -> [b, t, f].

    seed: draws are made on the CPU from it, so that they do not depend on the device.
    """
    b, t, f = features.shape
    rng = torch.Generator().manual_seed(seed)

    def mask(size: int, limit: Tensor, widest: Tensor, count: int) -> Tensor:
        width = torch.rand(b, count, generator=rng) * widest[:, None]
        begin = torch.rand(b, count, generator=rng) * (limit[:, None] - width).clamp(min=0)
        at = torch.arange(size)[None, None]
        return ((at >= begin[..., None]) & (at < (begin + width)[..., None])).any(1)

    count = lengths.cpu().float()
    bands = mask(f, torch.full((b,), float(f)), torch.full((b,), float(config.bands_width)), config.bands)
    times = mask(t, count, count * config.time_width, config.times)
    hidden = (bands[:, None, :] | times[:, :, None]).to(features.device)
    inside = torch.arange(t, device=features.device) < lengths[:, None]
    mean = (features * inside[..., None]).sum((1, 2)) / (inside.sum(1) * f).clamp(min=1)
    return torch.where(hidden, mean[:, None, None].to(features.dtype), features)
