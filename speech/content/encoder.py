"""A small causal content encoder: what is said, with little of who says it, 25 times a second.

Trained by CTC on phones through a bottleneck of a few thousand codes, as supervised speech tokens are (Du et al. 2024,
arXiv 2407.05407): the codes keep what the phones need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from speech.asr.conformer import ConformerLayer
from speech.asr.heads import CTCHead
from speech.asr.model import Cast
from speech.audio.mel import NEMO, LogMel, MelConfig
from speech.content.fsq import FSQ
from speech.content.reference import RATE, recording
from speech.errors import SpeechError
from speech.kernels.linear import Linear
from speech.streaming.attention import Attention
from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames
from speech.streaming.module import Parallel, Pointwise, Sequential

FACTOR = 4
"""Mel frames to a content frame."""

MEL = replace(NEMO, slope=0.25, offset=2.0)
"""Log-mel features that lie within about -2 .. 2 for speech."""

Content = Literal["features", "embedding", "codes", "scores", "said"]

TUNE = 3
"""Values of the tune: f0, voicing and level."""

FLOOR = -7.0
"""Of log-probabilities of what is said, one in a thousand: below it they tell more of the speaker than of the phone."""


@dataclass(frozen=True)
class ContentConfig:
    """A content encoder. Defaults: 3.2 M parameters (3.8 M with a head for 40 phones), no look-ahead.

    left, look_ahead: frames of 40 ms that attention sees before and after its own; look-ahead makes chunks of
    look_ahead + 1 frames. conv_left: past frames of the depthwise convolutions. levels: of the bottleneck's dimensions,
    the codebook has their product; none: no bottleneck. vocabulary: tokens (phones) of the CTC head; 0: no head.
    head_layers: Conformer layers of the head. tune: there is a readout of f0, voicing and level. Raises SpeechError for
    sizes that cannot be run.
    """

    mel: MelConfig = MEL
    dim: int = 192
    layers: int = 5
    heads: int = 4
    ff_expansion: int = 2
    conv_left: int = 8
    left: int = 50
    look_ahead: int = 0
    levels: tuple[int, ...] = (5, 5, 5, 5, 5)
    vocabulary: int = 0
    head_layers: int = 1
    dropout: float = 0.1
    tune: bool = False

    def __post_init__(self) -> None:
        if min(self.left, self.look_ahead, self.conv_left) < 0 or self.left % (self.look_ahead + 1):
            raise SpeechError(
                "expected a context of 0 frames or more, and a left that is a multiple of look_ahead + 1, got "
                f"left {self.left}, look_ahead {self.look_ahead} and conv_left {self.conv_left}: correct them"
            )
        if self.levels and min(self.levels) < 3:
            raise SpeechError(f"expected 3 levels or more in every dimension of the bottleneck, got {self.levels}")

    @property
    def frame(self) -> float:
        """Seconds of a content frame."""
        return FACTOR * self.mel.hop / self.mel.sample_rate

    def width(self, content: Content) -> int:
        """Channels of a frame of content; codes have none."""
        return {"codes": 0, "scores": self.vocabulary + 1, "said": self.vocabulary + TUNE}.get(content, self.dim)


class Subsampling(Sequential):
    """Two causal strided convolutions over time. [b, t, features] -> [b, ceil(t / 4), dim]."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__(
            conv0=Conv1d(features, dim, 2, stride=2),
            act0=Pointwise(silu),
            conv1=Conv1d(dim, dim, 2, stride=2),
            act1=Pointwise(silu),
            out=Linear(dim, dim),
            norm=nn.LayerNorm(dim),
        )


class Bottleneck(nn.Module):
    """Finite scalar quantisation between two projections, and a norm. [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.down, self.up = Linear(dim, len(levels)), Linear(len(levels), dim)
        self.norm = nn.LayerNorm(dim)
        self.quantiser = FSQ(levels)

    def forward(self, x: Tensor) -> Tensor:
        """Features to quantised embeddings; differentiable."""
        return self._embedding(self.quantiser(self.down(x)))

    def encode(self, x: Tensor) -> Tensor:
        """Features [b, t, d] -> codes [b, t], int64."""
        return self.quantiser.encode(self.down(x))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [b, t] -> the embeddings that `forward` gives for what they stand for, [b, t, d]."""
        return self._embedding(self.quantiser.decode(codes))

    def _embedding(self, points: Tensor) -> Tensor:
        return self.norm(self.up(points.to(self.up.weight.dtype)))


class Tune(nn.Sequential):
    """How it is said: f0 (of what scale training decides), the logit of voicing, and level. [b, t, d] -> [b, t, 3]."""

    def __init__(self, dim: int) -> None:
        super().__init__(Linear(dim, dim), nn.SiLU(), Linear(dim, TUNE))


class ContentEncoder(nn.Module):
    """Samples to content at 25 Hz. What runs live is `pipeline(...)`, a streamable module on these very parameters.

    Content comes in five forms:

    * "features": the encoder's output, [b, t, dim];
    * "embedding": the features behind the bottleneck, [b, t, dim]; the same where there is none;
    * "codes": the points of the bottleneck's grid, [b, t], int64;
    * "scores": log-probabilities of the tokens and, last, the blank, [b, t, vocabulary + 1], for CTC;
    * "said": log-probabilities of the tokens, f0 where there is a voice, voicing in 0 .. 1 and level,
      [b, t, vocabulary + 3]: all that a converter may know of a recording, and nothing of who speaks.

    The head has layers of its own, without which a readout of a few quantised dimensions learns hardly anything.
    """

    def __init__(self, config: ContentConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ContentConfig()
        self.mel = LogMel(c.mel)
        self.subsampling = Subsampling(c.mel.features, c.dim)
        self.dropout = nn.Dropout(c.dropout)
        self.layers = Sequential(**{f"{i}": _layer(c) for i in range(c.layers)})
        self.bottleneck = Bottleneck(c.dim, c.levels) if c.levels else None
        self.head = None
        if c.vocabulary:
            layers = {f"{i}": _layer(c) for i in range(c.head_layers)}
            self.head = Sequential(**layers, ctc=CTCHead(c.dim, c.vocabulary))
        self.tune = Tune(c.dim) if c.tune else None

    def from_mel(self, content: Content = "embedding") -> Sequential:
        """Log-mel frames [b, t, features] to content [b, ceil(t / 4), ...], as one streamable module.

        Raises SpeechError for codes without a bottleneck, for scores without a head, and for what is said without a
        head and a tune.
        """
        modules: dict[str, nn.Module] = {
            "cast": Cast(self.subsampling.get_parameter("out.weight").dtype),
            "subsampling": self.subsampling,
            "dropout": self.dropout,
            "layers": self.layers,
        }
        if content == "codes":
            if self.bottleneck is None:
                raise SpeechError("expected a content encoder with a bottleneck for codes, got one without: set levels")
            modules["codes"] = Pointwise(self.bottleneck.encode)
        elif content != "features" and self.bottleneck is not None:
            modules["bottleneck"] = self.bottleneck
        if content == "scores":
            if self.head is None:
                raise SpeechError("expected a content encoder with a head for scores, got one without: set vocabulary")
            modules["head"] = self.head
        if content == "said":
            if self.head is None or self.tune is None:
                raise SpeechError(
                    "expected a content encoder with a head and a tune for what is said, got one without: set "
                    "vocabulary and tune"
                )
            modules["said"] = Parallel(TUNE, _said, scores=self.head, tune=Sequential(readout=self.tune))
        return Sequential(**modules)

    def pipeline(self, content: Content = "embedding") -> Sequential:
        """Samples [b, n], 16 kHz, to content, as one streamable module; see `from_mel`."""
        return Sequential(mel=self.mel, content=self.from_mel(content))

    def forward(self, frames: Frames, content: Content = "embedding") -> Frames:
        """Whole signals: samples [b, n], 16 kHz -> content [b, t, ...]."""
        return self.pipeline(content)(frames)

    @torch.inference_mode()
    def encode(self, samples: Tensor | np.ndarray, sample_rate: float = RATE) -> Tensor:
        """The codes of one recording of any length. samples: mono [n] in [-1, 1] -> [t], int64, 25 a second.

        Raises:
            SpeechError: the model has no bottleneck, or the samples are not mono, not finite or less than one code.
        """
        x = recording(samples, sample_rate, shortest=self.config.frame)
        return self(Frames.whole(x[None].to(next(self.parameters()).device)), "codes").data[0].long()


def _said(scores: Tensor, tune: Tensor) -> Tensor:
    """[b, t, vocabulary + 1] and [b, t, 3] -> [b, t, vocabulary + 3]."""
    f0, voicing, level = tune.float().split(1, -1)
    voice = voicing.sigmoid()
    return torch.cat([scores[..., :-1].clamp(min=FLOOR), f0 * voice, voice, level], -1)


def _layer(c: ContentConfig) -> ConformerLayer:
    return ConformerLayer(
        Attention(c.dim, c.heads, left=c.left, chunk=c.look_ahead + 1, dropout=c.dropout),
        ff_hidden=c.dim * c.ff_expansion,
        conv_context=(c.conv_left, 0),
        conv_norm="layer_norm",
        bias=True,
        dropout=c.dropout,
    )
