"""The text-speech language model: one embedding table, a decoder, a head that scores speech codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from speech.errors import SpeechError
from speech.kernels.linear import Linear
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import State
from speech.tts.layout import IGNORE, Batch, Vocabulary
from speech.tts.qwen2 import Qwen2, Qwen2Config, SwiGLU
from speech.tts.sampling import SamplingConfig


@dataclass(frozen=True)
class TextSpeechConfig:
    """A text-speech language model. Defaults: CosyVoice 2. draft_heads: ids beyond the next that it can guess."""

    vocabulary: Vocabulary = field(default_factory=Vocabulary.cosyvoice2)
    decoder: Qwen2Config = field(default_factory=Qwen2Config)
    head_bias: bool = True
    draft_heads: int = 0

    def __post_init__(self) -> None:
        if self.draft_heads < 0:
            raise SpeechError(f"expected draft_heads of at least 0, got {self.draft_heads}: 0 is none")

    def check(self, sampling: SamplingConfig) -> None:
        """Raises SpeechError if the model cannot draft as many ids as `sampling` asks for."""
        if sampling.drafts > self.draft_heads:
            raise SpeechError(
                f"expected at most {self.draft_heads} drafts, one for each draft head of the model, got "
                f"{sampling.drafts}: ask for fewer, or train the model with more draft_heads"
            )


class DraftHead(nn.Module):
    """From the state behind a row and the row after it to about the state behind that one, without the decoder.

    The multi-token prediction module of DeepSeek-V3 (arXiv 2412.19437, section 2.2) without its attention, so that it
    keeps nothing of a stream and is as light as the heads of VITA-Audio (arXiv 2505.03739).
    """

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.norm_state = nn.RMSNorm(config.dim, config.eps)
        self.norm_row = nn.RMSNorm(config.dim, config.eps)
        self.join = Linear(2 * config.dim, config.dim, bias=False)
        self.feed_forward = SwiGLU(config)
        self.norm = nn.RMSNorm(config.dim, config.eps)

    def forward(self, state: Tensor, row: Tensor) -> Tensor:
        """state: [..., d], as `TextSpeechLM.head` takes it; row: [..., d], embedded -> [..., d], a state again."""
        x = self.join(torch.cat([self.norm_state(state), self.norm_row(row)], -1))
        return self.norm(x + self.feed_forward(x))


class TextSpeechLM(nn.Module):
    """Rows of text and codes to scores of the code that follows. What a sequence looks like is its layout's matter.

    Where it has `drafts`, the first of these heads guesses the id after the next one, the second the id after that.
    """

    def __init__(self, config: TextSpeechConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.decoder.dim
        self.embed = nn.Embedding(config.vocabulary.rows, dim)
        self.decoder = Qwen2(config.decoder, spare=config.draft_heads)
        self.head = Linear(dim, config.vocabulary.outputs, bias=config.head_bias)
        self.drafts = nn.ModuleList(DraftHead(config.decoder) for _ in range(config.draft_heads))

    def embedded(self, rows: Tensor) -> Tensor:
        """The decoder's inputs. rows: [..., k] int64 -> [..., d]."""
        return self.embed(rows).sum(-2)

    def forward(self, rows: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of what follows each row of whole sequences. rows: [b, t, k]; lengths: [b] -> [b, t, outputs]."""
        return self.head(self.states(rows, lengths))

    def states(self, rows: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What `head` makes the logits of `forward` from: [b, t, k] -> [b, t, d]."""
        return self.decoder(Frames.whole(self.embedded(rows), lengths)).data

    def step(self, rows: Tensor, start: Tensor, state: State, slots: Tensor) -> Tensor:
        """Go on with streams whose decoder state is in `slots`: logits of what follows the last row.

        rows: [b, t, k]; start: [b], how many rows each stream had before; slots: [b] -> [b, outputs]. The state is the
        decoder's and is updated in place.
        """
        return self.head(self.step_states(rows, start, state, slots)[:, -1])

    def step_states(self, rows: Tensor, start: Tensor, state: State, slots: Tensor) -> Tensor:
        """As `step`, and the states of all rows: [b, t, k] -> [b, t, d]. The last `draft_heads` may be taken back."""
        place = Place(start, torch.full_like(start, OPEN), rows.shape[1])
        return self.decoder.step(Frames(self.embedded(rows), place), state, slots).data

    def drafted(self, states: Tensor, rows: Tensor) -> Iterator[Tensor]:
        """What the draft heads score in whole sequences, being told the rows in between.

        states: [b, t, d] of `states`; rows: [b, t, k]. The n-th: logits [b, t - n, outputs], at i of what follows row
        i + n, from the decoder's state behind row i.
        """
        for n, head in enumerate(self.drafts, 1):
            states = head(states[:, :-1], self.embedded(rows[:, n:]))
            yield self.head(states)

    def loss(self, batch: Batch) -> Tensor:
        """Cross entropy of the next id, the mean over all targets that count; a scalar."""
        return _cross_entropy(self(batch.rows, batch.lengths), batch.targets)

    def draft_losses(self, states: Tensor, rows: Tensor, targets: Tensor) -> list[Tensor]:
        """Cross entropy of each draft head, a scalar. states, rows: as in `drafted`; targets: [b, t].

        A target counts where all targets from the state's own on do: no draft passes over rows that are not ids.
        """
        losses = []
        for logits in self.drafted(states, rows):
            targets = targets[:, 1:].masked_fill(targets[:, :-1] == IGNORE, IGNORE)
            losses.append(_cross_entropy(logits, targets))
        return losses


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """logits: [b, t, outputs]; targets: [b, t]; a scalar."""
    return cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE)
