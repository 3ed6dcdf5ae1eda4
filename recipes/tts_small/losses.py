"""What a vocoder in training minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipes.tts_small.discriminators import Judgement, magnitudes

RESOLUTIONS = ((1024, 120, 600), (512, 60, 300), (256, 25, 120))
"""(n_fft, hop, window) in samples: those of Parallel WaveGAN, halved."""


class SpectralLoss(nn.Module):
    """The multi-resolution STFT loss (Yamamoto et al. 2020, arXiv 1910.11480): spectral convergence and log-magnitude.

    The mean over resolutions of |S - S'| / |S| (over the whole batch: silence would divide by nothing) and of the mean
    |log S - log S'|.
    """

    def __init__(self, resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS) -> None:
        super().__init__()
        self.sizes = [(n_fft, hop) for n_fft, hop, _ in resolutions]
        for i, (n_fft, _, width) in enumerate(resolutions):
            window = nn.functional.pad(torch.hann_window(width), [(n_fft - width) // 2] * 2)
            self.register_buffer(f"window{i}", window, persistent=False)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """made, real: [b, n] -> []."""
        total = made.new_zeros(())
        for i, (n_fft, hop) in enumerate(self.sizes):
            window = self.get_buffer(f"window{i}")
            y, x = magnitudes(made, n_fft, hop, window), magnitudes(real, n_fft, hop, window)
            convergence = torch.linalg.vector_norm(x - y) / torch.linalg.vector_norm(x)  # its gradient at 0 is 0
            total = total + convergence + (x.log() - y.log()).abs().mean()
        return total / len(self.sizes)


def f0_loss(predicted: Tensor, f0: Tensor) -> Tensor:
    """Mean absolute error in Hz; silence counts as 0 Hz. [b, t] each -> []."""
    return (predicted.float() - f0).abs().mean()


def split(judgements: Sequence[Judgement]) -> tuple[list[Judgement], list[Judgement]]:
    """Judgements of a batch whose first half is real and second half made, as those of each."""
    real, made = [], []
    for scores, features in judgements:
        layers = zip(*(feature.chunk(2) for feature in features), strict=True)
        for side, part, own in zip((real, made), scores.chunk(2), layers, strict=True):
            side.append(Judgement(part, list(own)))
    return real, made


def discriminator_loss(real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
    """Least squares (Mao et al. 2017, arXiv 1611.04076): real speech should score 1, made 0. Mean over judges."""
    each = [
        (1 - r.scores.float()).square().mean() + m.scores.float().square().mean()
        for r, m in zip(real, made, strict=True)
    ]
    return torch.stack(each).mean()


def adversarial_loss(made: Sequence[Judgement]) -> Tensor:
    """Made speech should score 1. Mean over judges."""
    return torch.stack([(1 - m.scores.float()).square().mean() for m in made]).mean()


def feature_loss(real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
    """Feature matching (Larsen et al. 2016): mean absolute difference of layers, over its mean level in real speech."""
    each = [
        (a.detach().float() - b.float()).abs().mean() / a.detach().float().abs().mean().clamp(min=1e-5)
        for r, m in zip(real, made, strict=True)
        for a, b in zip(r.features, m.features, strict=True)
    ]
    return torch.stack(each).mean()
