"""The text-speech language model: one embedding table, a decoder, a head that scores speech codes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from speech.kernels.linear import Linear
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import State
from speech.tts.layout import IGNORE, Batch, Vocabulary
from speech.tts.qwen2 import Qwen2, Qwen2Config


@dataclass(frozen=True)
class TextSpeechConfig:
    """A text-speech language model. Defaults: CosyVoice 2."""

    vocabulary: Vocabulary = field(default_factory=Vocabulary.cosyvoice2)
    decoder: Qwen2Config = field(default_factory=Qwen2Config)
    head_bias: bool = True


class TextSpeechLM(nn.Module):
    """Rows of text and codes to scores of the code that follows. What a sequence looks like is its layout's matter."""

    def __init__(self, config: TextSpeechConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.decoder.dim
        self.embed = nn.Embedding(config.vocabulary.rows, dim)
        self.decoder = Qwen2(config.decoder)
        self.head = Linear(dim, config.vocabulary.outputs, bias=config.head_bias)

    def embedded(self, rows: Tensor) -> Tensor:
        """The decoder's inputs. rows: [b, t, k] int64 -> [b, t, d]."""
        return self.embed(rows).sum(2)

    def forward(self, rows: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of what follows each row of whole sequences. rows: [b, t, k]; lengths: [b] -> [b, t, outputs]."""
        return self.head(self.decoder(Frames.whole(self.embedded(rows), lengths)).data)

    def loss(self, batch: Batch) -> Tensor:
        """Cross entropy, the mean over all targets that count; a scalar."""
        logits = self(batch.rows, batch.lengths)
        return cross_entropy(logits.flatten(0, 1).float(), batch.targets.flatten(), ignore_index=IGNORE)

    def step(self, rows: Tensor, start: Tensor, state: State, slots: Tensor) -> Tensor:
        """Go on with streams whose decoder state is in `slots`: logits of what follows the last row.

        rows: [b, t, k]; start: [b], how many rows each stream had before; slots: [b] -> [b, outputs]. The state is the
        decoder's and is updated in place.
        """
        place = Place(start, torch.full_like(start, OPEN), rows.shape[1])
        frames = self.decoder.step(Frames(self.embedded(rows), place), state, slots)
        return self.head(frames.data[:, -1])
