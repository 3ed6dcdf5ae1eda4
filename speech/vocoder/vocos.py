"""Vocos: mel frames to spectra by ConvNeXt blocks at the rate of frames, and samples by the inverse transform."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speech.kernels.linear import Linear
from speech.streaming.conv import Conv1d
from speech.streaming.module import Pointwise, Residual, Sequential
from speech.streaming.spectral import ISTFT
from speech.vocoder.layers import context, polar


@dataclass(frozen=True)
class VocosConfig:
    """The 16 kHz vocoder of MeanVC by default.

    sample_rate: Hz. features: mel bins. dim, hidden, layers: of the ConvNeXt blocks; kernel: of all convolutions.
    n_fft, hop: of the inverse transform, samples. causal: convolutions see the past alone; otherwise they are centred
    and run with delay.
    """

    sample_rate: int = 16000
    features: int = 80
    dim: int = 320
    hidden: int = 1536
    layers: int = 8
    kernel: int = 7
    n_fft: int = 640
    hop: int = 160
    causal: bool = False


class FeedForward(nn.Module):
    """Norm, linear, GELU, linear, and a learned scale for each channel. x: [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.up, self.down = Linear(dim, hidden), Linear(hidden, dim)
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * self.down(nn.functional.gelu(self.up(self.norm(x))))


class Block(Residual):
    """A ConvNeXt block (Liu et al. 2022, arXiv 2201.03545) over time: depthwise convolution, then feed-forward."""

    def __init__(self, config: VocosConfig) -> None:
        conv = Conv1d(config.dim, config.dim, *context(config.kernel, causal=config.causal), groups=config.dim)
        super().__init__(
            config.dim, Sequential(conv=conv, ff=FeedForward(config.dim, config.hidden, 1 / config.layers))
        )


class Vocos(Sequential):
    """Mel frames to samples without up-sampling (Siuzdak 2023, arXiv 2306.00814).

    mel: [b, t, features] -> [b, (t - 1) * hop]: the frames' centres are hop samples apart, the first lies at sample 0.
    In two parts: `backbone` (-> [b, t, dim]) and `head` (-> samples).
    """

    def __init__(self, config: VocosConfig) -> None:
        blocks: dict[str, nn.Module] = {f"block{i}": Block(config) for i in range(config.layers)}
        backbone = Sequential(
            embed=Conv1d(config.features, config.dim, *context(config.kernel, causal=config.causal)),
            norm=nn.LayerNorm(config.dim, eps=1e-6),
            **blocks,
            final_norm=nn.LayerNorm(config.dim, eps=1e-6),
        )
        head = Sequential(
            out=Linear(config.dim, config.n_fft + 2),
            spectra=Pointwise(lambda x: polar(*x.chunk(2, -1))),
            istft=ISTFT(config.n_fft, config.hop),
        )
        super().__init__(backbone=backbone, head=head)
        self.config, self.sample_rate, self.hop = config, config.sample_rate, config.hop
