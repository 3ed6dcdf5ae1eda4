"""ECAPA-TDNN: frames of features to one vector that tells speakers apart (Desplanques et al. 2020, arXiv 2005.07143).

The small form of the speaker verification models of WavLM (Chen et al. 2022, arXiv 2110.13900).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from speech.errors import SpeechError

DILATIONS = (2, 3, 4)
"""Of the kernels of 3 in the three blocks."""


@dataclass(frozen=True)
class ECAPAConfig:
    """An ECAPA-TDNN. Defaults: the head of the public `wavlm_large_finetune`.

    features: of an input frame. channels: of the blocks, in `scale` groups; squeeze: of their squeeze-and-excitation.
    pooled: channels that are pooled over time; attention: of the scores that weigh the frames. dim: of the vector.
    Raises SpeechError for sizes that do not fit.
    """

    features: int = 1024
    channels: int = 512
    scale: int = 8
    squeeze: int = 128
    pooled: int = 1536
    attention: int = 128
    dim: int = 256

    def __post_init__(self) -> None:
        if self.scale < 2 or self.channels % self.scale:
            raise SpeechError(
                f"expected a scale of 2 or more that divides the channels, got scale {self.scale} and {self.channels} "
                "channels: correct them"
            )


class TDNN(nn.Module):
    """Convolution over time, ReLU, batch norm. [b, c, t] -> [b, c', t]."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        self.conv = nn.Conv1d(channels, out_channels, kernel, padding=padding, dilation=dilation)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(relu(self.conv(x)))


class Res2(nn.Module):
    """Groups of channels, each added to what the one before became (Gao et al. 2019, arXiv 1904.01169).

    The last group stays as it is. [b, c, t] -> [b, c, t].
    """

    def __init__(self, channels: int, scale: int, dilation: int) -> None:
        super().__init__()
        width = channels // scale
        self.groups = nn.ModuleList(TDNN(width, width, 3, dilation) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        *groups, last = x.chunk(len(self.groups) + 1, 1)
        outs: list[Tensor] = []
        for layer, group in zip(self.groups, groups, strict=True):
            outs.append(layer(group + outs[-1] if outs else group))
        return torch.cat([*outs, last], 1)


class Excitation(nn.Module):
    """Each channel scaled by what all are on average over time (Hu et al. 2017, arXiv 1709.01507). [b, c, t] as x."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, squeeze), nn.Linear(squeeze, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excite(relu(self.squeeze(x.mean(2)))).sigmoid()[:, :, None]


class Block(nn.Module):
    """A residual of pointwise, grouped and pointwise layers and an excitation. [b, c, t] -> [b, c, t]."""

    def __init__(self, config: ECAPAConfig, dilation: int) -> None:
        super().__init__()
        channels = config.channels
        self.branch = nn.Sequential(
            TDNN(channels, channels),
            Res2(channels, config.scale, dilation),
            TDNN(channels, channels),
            Excitation(channels, config.squeeze),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class AttentivePool(nn.Module):
    """Mean and deviation over time under weights for every channel (Okabe et al. 2018, arXiv 1803.10963).

    [b, c, t] -> [b, 2 * c].
    """

    def __init__(self, channels: int, attention: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Conv1d(channels, attention, 1), nn.Tanh(), nn.Conv1d(attention, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.score(x).softmax(2)
        mean = (weight * x).sum(2)
        variance = (weight * x.square()).sum(2) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], 1)


class ECAPA(nn.Module):
    """The head; see `forward`. It pools over whole recordings, so it is no streaming module."""

    def __init__(self, config: ECAPAConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ECAPAConfig()
        self.instance_norm = nn.InstanceNorm1d(c.features)
        self.first = TDNN(c.features, c.channels, 5)
        self.blocks = nn.ModuleList(Block(c, dilation) for dilation in DILATIONS)
        self.merge = nn.Conv1d(len(DILATIONS) * c.channels, c.pooled, 1)
        self.pool = AttentivePool(c.pooled, c.attention)
        self.pool_norm = nn.BatchNorm1d(2 * c.pooled)
        self.out = nn.Linear(2 * c.pooled, c.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Frames of whole recordings of one length, [b, t, features], t >= 2 -> vectors [b, dim], of any length."""
        x = self.first(self.instance_norm(x.transpose(1, 2)))
        outs = []
        for block in self.blocks:
            x = block(x)
            outs.append(x)
        return self.out(self.pool_norm(self.pool(relu(self.merge(torch.cat(outs, 1))))))
