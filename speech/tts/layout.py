"""How text and speech codes share one sequence: the numbering, and the interface that every layout obeys.

A layout turns an utterance into rows and targets to train on (`Layout.example`), and gives the small machine that
writes the same sequence while it is spoken (`Layout.script`). Both are about integers alone; `tts.lm` embeds them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from speech.errors import SpeechError

IGNORE = -1
"""A target that does not count."""

SILENCE = 5
"""Codes of silence that are said in a row, at the most, where the vocabulary tells which they are."""

Row = tuple[int, ...]
"""One input of the decoder: rows of the embedding table, which are summed."""


@dataclass(frozen=True)
class Vocabulary:
    """The rows of the one embedding table, and the ids that the head scores.

    Rows: `codes` speech codes, then the special rows, then `text` rows for text ids. Ids: codes and special ids below
    `outputs`. Where the text stands beside the codes (`ahead` is a number), every place of the look-ahead has `text`
    rows of its own, the last of which says that the text has ended; `voices` rows come last.

    sos begins a sequence, task stands between text and codes, eos ends the codes, fill ends a block of codes. silent:
    codes of silence and breath, of which a model may give very many; after `SILENCE` in a row they are left unsaid.
    """

    text: int
    codes: int
    outputs: int
    sos: int
    eos: int
    task: int
    fill: int
    ahead: int | None = None
    voices: int = 0
    silent: tuple[int, ...] = ()

    @classmethod
    def cosyvoice2(cls, text: int = 151936, codes: int = 6561) -> Vocabulary:
        """CosyVoice 2 (arXiv 2412.10117): eos, a spare id and fill are scored; sos and task are inputs only."""
        c = codes
        return cls(text, c, outputs=c + 3, sos=c + 3, eos=c, task=c + 4, fill=c + 2)

    @classmethod
    def cosyvoice3(cls, text: int = 151936, codes: int = 6561, spare: int = 200) -> Vocabulary:
        """CosyVoice 3 (arXiv 2505.17589): `spare` special ids, all of them scored, of which four have a meaning."""
        c, silent = codes, (1, 2, 28, 29, 55, 248, 494, 2241, 2242, 2322, 2323)
        silent = tuple(code for code in silent if code < codes)
        return cls(text, c, outputs=c + spare, sos=c, eos=c + 1, task=c + 2, fill=c + 3, silent=silent)

    @classmethod
    def beside(cls, symbols: int, codes: int, ahead: int, voices: int = 0) -> Vocabulary:
        """Symbols beside codes (`tts.aligned`): the one special row says "on to the next symbol"."""
        c = codes
        return cls(symbols + 1, c, outputs=c + 1, sos=c, eos=c, task=c, fill=c, ahead=ahead, voices=voices)

    @property
    def first_text(self) -> int:
        """The row of text id 0."""
        return max(self.outputs, self.sos + 1, self.task + 1)

    @property
    def first_voice(self) -> int:
        """The row of voice 0."""
        return self.first_text + self.text * (1 + (self.ahead or 0))

    @property
    def rows(self) -> int:
        """Rows of the embedding table."""
        return self.first_voice + self.voices

    @property
    def columns(self) -> int:
        """Rows of the table that one input of the decoder sums."""
        return 1 if self.ahead is None else 2 + self.ahead + bool(self.voices)

    @property
    def symbols(self) -> int:
        """How many text ids there are to speak."""
        return self.text if self.ahead is None else self.text - 1


@dataclass(frozen=True)
class Utterance:
    """Spoken text: text ids, the speech codes, where known how many codes each text id took, and who speaks."""

    text: Sequence[int] = ()
    codes: Sequence[int] = ()
    counts: Sequence[int] = ()
    voice: int = 0


NOTHING = Utterance()
"""No prompt."""


@dataclass(frozen=True)
class Example:
    """A training sequence: the decoder's inputs, and after each the id that follows (or `IGNORE`)."""

    rows: list[Row]
    targets: list[int]


@dataclass(frozen=True)
class Batch:
    """Padded examples. rows: [b, t, k] int64; lengths: [b]; targets: [b, t]."""

    rows: Tensor
    lengths: Tensor
    targets: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Batch:
        """Pad at the end, with row 0 and `IGNORE`."""
        longest, columns = max(len(e.rows) for e in examples), len(examples[0].rows[0])
        rows = torch.zeros(len(examples), longest, columns, dtype=torch.long)
        targets = torch.full((len(examples), longest), IGNORE)
        for i, example in enumerate(examples):
            rows[i, : len(example.rows)] = torch.tensor(example.rows)
            targets[i, : len(example.rows)] = torch.tensor(example.targets)
        return cls(rows, torch.tensor([len(e.rows) for e in examples]), targets)


class Layout(ABC):
    """One way to lay an utterance out. `vocabulary` is that of the model."""

    vocabulary: Vocabulary

    @abstractmethod
    def example(self, utterance: Utterance) -> Example:
        """The training sequence. Raises SpeechError for an utterance that the layout cannot hold."""

    @abstractmethod
    def script(self, prompt: Utterance = NOTHING) -> Script:
        """The sequence of a new stream. prompt: speech of the voice that is to go on, and its text."""


class Script(ABC):
    """One stream's sequence while it is spoken. It knows neither model nor tensors of the decoder.

    Round and round: `feed` gives the rows that the decoder takes next, `admit` says which of the ids that it scores may
    come, and `take` is told the id that was chosen. Text may be pushed at any time in between, and nothing that was
    said is forgotten over it.

    text: what is to be spoken, as it came. ids: all ids so far, fills among them. failure: why the stream broke off,
    where it did. symbol: the text id that the last code belongs to, where the layout tells.
    """

    symbol: int | None = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.text: list[int] = []
        self.ids: list[int] = []
        self.ended = False
        self.failure: str | None = None
        self._pending: list[Row] = []  # rows that the decoder has not taken yet
        self._speaking = False  # whether an id follows on those rows; if not, text is missing
        self._silence = 0  # codes of silence in a row

    def push(self, text: Iterable[int]) -> None:
        """Take more text ids. Raises SpeechError after `end`, and for an id that the vocabulary has not."""
        if self.ended:
            raise SpeechError("expected text before the end of the stream, got some after it: begin another stream")
        text = list(text)
        wrong = [id for id in text if not 0 <= id < self.vocabulary.symbols]
        if wrong:
            raise SpeechError(
                f"expected text ids of 0 .. {self.vocabulary.symbols - 1}, got {wrong[0]}: use the model's tokenizer"
            )
        self.text += text

    def end(self) -> None:
        """No more text will come."""
        self.ended = True

    def fork(self) -> Self:
        """A copy that goes its own way from here: for trying out what would be fed next."""
        other = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list):
                setattr(other, name, [*value])
        return other

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether all that there was to say is said, or the stream broke off."""

    @property
    def history(self) -> list[int]:
        """The ids among which repetition counts, oldest first."""
        return self.ids

    @property
    def ready(self) -> bool:
        """Whether the decoder can go on: not so while text is missing, and when the stream is done."""
        if not self.done and not self._speaking:
            self._arrange()
        return self._speaking and not self.done

    def feed(self) -> list[Row]:
        """The rows that the decoder takes next; none unless `ready`."""
        if not self.ready:
            return []
        rows, self._pending = self._pending, []
        return rows

    @property
    def apart(self) -> int | None:
        """The id that is decided on before the others, if there is one: not what is said, but whether."""
        return None

    @abstractmethod
    def admit(self, scores: Tensor) -> Tensor:
        """Scores [outputs] with those of ids that may not come at -inf."""

    @abstractmethod
    def take(self, id: int) -> int | None:
        """The chosen id: returned if it is a speech code that is to be said, else None."""

    def _said(self, code: int) -> int | None:
        """The code, unless it is one of too many of silence."""
        self._silence = self._silence + 1 if code in self.vocabulary.silent else 0
        return code if self._silence <= SILENCE else None

    @abstractmethod
    def _arrange(self) -> None:
        """If the text allows, append to `_pending` what comes before the next id and set `_speaking`."""


def only(scores: Tensor, codes: int, *special: int) -> Tensor:
    """Scores [n] in which, besides the `codes` speech codes, the ids `special` may come and no others."""
    out = scores.clone()
    out[codes:] = -torch.inf
    for id in special:
        out[id] = scores[id]
    return out
