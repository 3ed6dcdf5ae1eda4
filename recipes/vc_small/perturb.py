"""What is done in training to the sound that the content encoder hears, so that no timbre can leak through it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from speech.audio.filterbank import mel_bank
from speech.audio.mel import MelConfig


@dataclass(frozen=True)
class PerturbConfig:
    """Uniform ranges. gain_db: of the level. snr_db: speech over white noise. warp: frequencies move by up to this
    factor, up or down, pitch and formants alike."""

    gain_db: tuple[float, float] = (-12.0, 6.0)
    snr_db: tuple[float, float] = (10.0, 45.0)
    warp: float = 1.15


def noisy(samples: Tensor, config: PerturbConfig, generator: torch.Generator) -> Tensor:
    """At another level, under noise. [b, n] -> [b, n]."""
    gain, ratio = (
        10 ** (uniform(len(samples), low, high, generator).to(samples)[:, None] / 20)
        for low, high in (config.gain_db, config.snr_db)
    )
    noise = torch.randn(samples.shape, generator=generator).to(samples)
    return gain * (samples + noise * samples.square().mean(1, keepdim=True).sqrt() / ratio)


def warped(mel: Tensor, factors: Tensor, config: MelConfig) -> Tensor:
    """Log-mel frames with all frequencies multiplied by a factor for each row. mel: [b, t, f]; factors: [b].

    As vocal tract length perturbation (Jaitly and Hinton 2013) does, but for a single factor over the whole range: what
    resampling would do, at the pace of before. Beyond the last band lies what the last band holds.
    """
    bank = mel_bank(config.sample_rate, config.n_fft, config.features, config.low, config.high, config.scale)
    at = torch.linspace(0, config.sample_rate / 2, bank.shape[1])
    centres = ((bank * at).sum(1) / bank.sum(1).clamp(min=1e-12)).to(mel)
    wanted = (centres / factors[:, None]).contiguous()
    right = torch.searchsorted(centres, wanted).clamp(1, len(centres) - 1)
    left = right - 1
    share = ((wanted - centres[left]) / (centres[right] - centres[left])).clamp(0, 1)
    low, high = (mel.gather(2, i[:, None].expand(-1, mel.shape[1], -1)) for i in (left, right))
    return torch.lerp(low, high, share[:, None])


def draw_warps(rows: int, config: PerturbConfig, generator: torch.Generator) -> Tensor:
    """Factors for `warped`, [rows], as often up as down."""
    return config.warp ** uniform(rows, -1, 1, generator)


def uniform(rows: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Numbers drawn evenly from [low, high): [rows]."""
    return low + (high - low) * torch.rand(rows, generator=generator)
