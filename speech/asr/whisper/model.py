"""Whisper's network: front end, encoder and decoder."""

from __future__ import annotations

from torch import Tensor, nn

from speech.asr.model import Cast
from speech.asr.whisper.config import FACTOR, Context, WhisperConfig
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.encoder import Encoder
from speech.asr.whisper.published import PieceMel
from speech.audio.mel import LogMel
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential


class Whisper(nn.Module):
    """Samples and tokens to scores of the next tokens. Live: `pipeline`, `decoder.extend` and `decoder.step`."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.mel)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def forward(self, samples: Tensor, lengths: Tensor, ids: Tensor, context: Context | None = None) -> Tensor:
        """Logits of whole signals. samples: [b, n], 16 kHz; lengths: [b]; ids: [b, u] -> [b, u, vocabulary].

        Plain Whisper was trained on signals that are filled up with silence to 30 s.
        """
        return self.decoder(ids, self.pipeline(context)(Frames.whole(samples, lengths)))

    def pipeline(self, context: Context | None = None) -> Sequential:
        """Front end and encoder as one streamable module in one context. samples [b, n] -> frames [b, t, d]."""
        context = context or self.config.contexts[0]
        encoder, mel = self.encoder.at(context), self.mel
        if self.config.compatible and context.left:
            mel = PieceMel(self.config.mel, FACTOR * context.chunk).to(mel.window)
        return Sequential(mel=mel, cast=Cast(self.decoder.embed.weight.dtype), encoder=encoder)
