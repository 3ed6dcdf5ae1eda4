"""Discriminators of waveforms: by periods (HiFi-GAN) and by spectra at several resolutions (UnivNet), small."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1


@dataclass(frozen=True)
class DiscriminatorConfig:
    """periods: samples; period_channels: of their layers, each a third as long as the one before.

    resolutions: (n_fft, hop) of the spectra; resolution_channels: of their layers, each with half the bins.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (16, 64, 128, 128)
    resolutions: tuple[tuple[int, int], ...] = ((1024, 256), (512, 128), (256, 64))
    resolution_channels: tuple[int, ...] = (8, 16, 16, 16)


class Judgement(NamedTuple):
    """scores: [b, ...], near 1 for real and 0 for made speech; features: of every layer before it, [b, c, ...]."""

    scores: Tensor
    features: list[Tensor]


class Layers(nn.Module):
    """2-D convolutions over [b, 1, t, f] with weight normalisation, and one that scores."""

    def __init__(self, channels: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        around = (kernel[0] // 2, kernel[1] // 2)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, kernel, stride, around)) for a, b in pairwise((1, *channels))
        )
        last = (3, 1) if kernel[1] == 1 else (3, 3)
        self.score = weight_norm(nn.Conv2d(channels[-1], 1, last, padding=(last[0] // 2, last[1] // 2)))

    def forward(self, x: Tensor) -> Judgement:
        features = []
        for layer in self.layers:
            x = leaky_relu(layer(x), SLOPE)
            features.append(x)
        return Judgement(self.score(x), features)


class PeriodDiscriminator(nn.Module):
    """Every `period`-th sample side by side (Kong et al. 2020, arXiv 2010.05646). samples: [b, n]."""

    def __init__(self, period: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.period, self.layers = period, Layers(channels, (5, 1), (3, 1))

    def forward(self, samples: Tensor) -> Judgement:
        missing = -samples.shape[1] % self.period
        x = pad(samples[:, None], (0, missing), mode="reflect")
        return self.layers(x.unflatten(2, (-1, self.period)))


class ResolutionDiscriminator(nn.Module):
    """The magnitudes of one Fourier transform (Jang et al. 2021, UnivNet, arXiv 2106.07889). samples: [b, n]."""

    window: Tensor

    def __init__(self, n_fft: int, hop: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.n_fft, self.hop, self.layers = n_fft, hop, Layers(channels, (3, 9), (1, 2))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, samples: Tensor) -> Judgement:
        return self.layers(magnitudes(samples, self.n_fft, self.hop, self.window).transpose(1, 2)[:, None])


class Discriminators(nn.Module):
    """All of them. samples: [b, n] -> a judgement by each."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        periods = [PeriodDiscriminator(period, config.period_channels) for period in config.periods]
        spectra = [ResolutionDiscriminator(*size, config.resolution_channels) for size in config.resolutions]
        self.each = nn.ModuleList([*periods, *spectra])

    def forward(self, samples: Tensor) -> list[Judgement]:
        return [discriminator(samples) for discriminator in self.each]


def magnitudes(samples: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """Magnitudes of the short-time Fourier transform, in float32. [b, n] -> [b, n_fft / 2 + 1, t].

    Below 1e-4 they are lifted, so that silence has a finite gradient.
    """
    with torch.autocast(samples.device.type, enabled=False):
        bins = torch.stft(samples.float(), n_fft, hop, window=window, pad_mode="constant", return_complex=True)
        return (bins.real.square() + bins.imag.square() + 1e-8).sqrt()
