"""The recogniser's network: front end, encoder and heads, with its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from speech.asr.encoder import Encoder, EncoderConfig
from speech.asr.heads import CTCHead, Joint, Prediction
from speech.asr.subsampling import FACTOR
from speech.audio.mel import LogMel, MelConfig
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential


@dataclass(frozen=True)
class PredictionConfig:
    """The transducer's prediction and joint networks."""

    dim: int = 640
    layers: int = 1
    joint_dim: int = 640
    dropout: float = 0.2
    joint_dropout: float = 0.2


@dataclass(frozen=True)
class FastConformerConfig:
    """A FastConformer recogniser. `prediction=None`: no transducer; `ctc=False`: no CTC head.

    ctc_delay: seconds by which the labels of the CTC head follow the sound at the longest look-ahead, as measured.
    """

    mel: MelConfig = field(default_factory=MelConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    vocabulary: int = 1024
    ctc: bool = True
    ctc_delay: float = 0.0
    prediction: PredictionConfig | None = field(default_factory=PredictionConfig)

    @property
    def frame(self) -> float:
        """Seconds of an encoder frame."""
        return FACTOR * self.mel.hop / self.mel.sample_rate

    @property
    def look_aheads(self) -> dict[int, tuple[int, int]]:
        """The encoder's contexts by their look-ahead in milliseconds; the first is the default."""
        return self.encoder.look_aheads(self.frame)


class Cast(nn.Module):
    """x as `dtype`: features are computed in float32 whatever the precision of the encoder."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


class FastConformer(nn.Module):
    """Samples to token scores by a shared encoder and a CTC head, a transducer, or both."""

    def __init__(self, config: FastConformerConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.mel)
        self.encoder = Encoder(config.encoder)
        dim, p = config.encoder.dim, config.prediction
        self.ctc = CTCHead(dim, config.vocabulary) if config.ctc else None
        self.prediction = Prediction(config.vocabulary, p.dim, p.layers, p.dropout) if p else None
        self.joint = Joint(dim, p.dim, p.joint_dim, config.vocabulary, p.joint_dropout) if p else None

    def forward(
        self, samples: Tensor, lengths: Tensor, context: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode whole signals. samples: [b, n]; lengths: [b]; context: (left, look-ahead) -> [b, t, d], [b]."""
        out = self.pipeline(context)(Frames.whole(samples, lengths))
        return out.data, out.lengths

    def pipeline(self, context: tuple[int, int] | None = None, cells: torch.dtype | None = None) -> Sequential:
        """Front end and encoder as one streamable module. samples [b, n] -> frames [b, t, d].

        context: (left, look-ahead); cells: the dtype of 8 bits in which streams keep keys and values, see `Attention`.
        """
        encoder = self.encoder.at(context or self.config.encoder.contexts[0], cells)
        return Sequential(mel=self.mel, cast=Cast(next(encoder.parameters()).dtype), encoder=encoder)
