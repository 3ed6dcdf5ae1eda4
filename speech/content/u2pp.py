"""Fast-U2++: the streaming Conformer whose features MeanVC converts, 25 times a second.

WeNet's U2++ encoder (Wu et al. 2021, arXiv 2106.05642) on chunks of 80 to 200 ms (Liang et al. 2023, arXiv 2211.00941).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from speech.asr.conformer import ConformerLayer
from speech.asr.encoder import Scale
from speech.asr.model import Cast
from speech.asr.subsampling import AddBand, Flatten
from speech.audio.mel import WENET_FBANK, LogMel, MelConfig
from speech.errors import SpeechError
from speech.kernels.linear import Linear
from speech.streaming.attention import Absolute, Attention
from speech.streaming.conv import Conv2d
from speech.streaming.frames import Frames
from speech.streaming.module import Pointwise, Sequential

FACTOR = 4
"""Mel frames to a content frame."""


@dataclass(frozen=True)
class U2PPConfig:
    """A U2++ encoder. Defaults: MeanVC's `fastu2++`.

    kernel: frames of the causal depthwise convolutions. chunk: frames of 40 ms that see one another, 5 in MeanVC, 4 or
    2 in MeanVC 2. left_chunks: how many chunks before their own they see. lap, restart: in chunks, as a new stretch of
    positions begins (see `attention.Absolute`); MeanVC's runtime sets its offset to 20 frames after every 50 chunks.
    Raises SpeechError for sizes that cannot be run.
    """

    mel: MelConfig = WENET_FBANK
    dim: int = 256
    layers: int = 7
    heads: int = 4
    ff_hidden: int = 2048
    kernel: int = 9
    chunk: int = 5
    left_chunks: int = 2
    lap: int = 50
    restart: int = 4

    def __post_init__(self) -> None:
        if min(self.chunk, self.kernel, self.lap) < 1 or not 0 <= self.left_chunks <= self.restart:
            raise SpeechError(
                "expected a chunk, a kernel and a lap of at least 1 and 0 <= left_chunks <= restart, got chunk "
                f"{self.chunk}, kernel {self.kernel}, lap {self.lap}, left_chunks {self.left_chunks} and restart "
                f"{self.restart}: correct them"
            )

    @property
    def frame(self) -> float:
        """Seconds of a content frame."""
        return FACTOR * self.mel.hop / self.mel.sample_rate


class GlobalNorm(nn.Module):
    """(x - mean) * scale, for each feature, by the statistics of the training data. [b, t, d] -> [b, t, d]."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale


class Subsampling(Sequential):
    """Two strided convolutions over time and frequency without padding, 4x.

    [b, t, features] -> [b, floor((floor((t - 1) / 2) - 1) / 2), dim]: output j sees the frames 4 j .. 4 j + 6.
    """

    def __init__(self, features: int, dim: int) -> None:
        conv0 = Conv2d(1, dim, 0, 2, bins=features, below=0, above=0, stride=2, tail=0)
        conv1 = Conv2d(dim, dim, 0, 2, bins=conv0.out_bins, below=0, above=0, stride=2, tail=0)
        super().__init__(
            lift=AddBand(),
            conv0=conv0,
            relu0=Pointwise(relu),
            conv1=conv1,
            relu1=Pointwise(relu),
            flatten=Pointwise(Flatten()),
            out=Linear(conv1.out_bins * dim, dim),
            scale=Scale(dim**0.5),
        )


class U2PPEncoder(nn.Module):
    """Samples to content features at 25 Hz. What runs live is `pipeline()`, a streamable module on these parameters.

    A chunk needs 45 ms of sound after its own, for its last filter-bank frames.
    """

    def __init__(self, config: U2PPConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or U2PPConfig()
        self.mel = LogMel(c.mel)
        self.mel_norm = GlobalNorm(c.mel.features)
        self.subsampling = Subsampling(c.mel.features, c.dim)
        self.layers = Sequential(**{f"{i}": _layer(c) for i in range(c.layers)})
        self.norm = nn.LayerNorm(c.dim)

    def from_mel(self) -> Sequential:
        """Filter-bank frames [b, t, features] to content features [b, t', dim], as one streamable module."""
        return Sequential(
            mel_norm=self.mel_norm,
            cast=Cast(self.norm.weight.dtype),
            subsampling=self.subsampling,
            layers=self.layers,
            norm=self.norm,
        )

    def pipeline(self) -> Sequential:
        """Samples [b, n] in [-1, 1], 16 kHz, to content features [b, t, dim], as one streamable module."""
        return Sequential(mel=self.mel, content=self.from_mel())

    def forward(self, frames: Frames) -> Frames:
        """Whole signals: samples [b, n], 16 kHz -> content features [b, t, dim]."""
        return self.pipeline()(frames)


def _layer(c: U2PPConfig) -> ConformerLayer:
    position = Absolute(c.lap * c.chunk, c.restart * c.chunk)
    return ConformerLayer(
        Attention(c.dim, c.heads, left=c.left_chunks * c.chunk, chunk=c.chunk, position=position),
        ff_hidden=c.ff_hidden,
        conv_context=(c.kernel - 1, 0),
        conv_norm="layer_norm",
        bias=True,
        dropout=0.0,
        conv_level=True,
    )
