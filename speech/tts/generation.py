"""Streams of speech codes: scripts, samplers and decoder state brought together, one decoder pass at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.lane import Asking, Call, Seat, alone
from speech.tts.drafting import Draft
from speech.tts.layout import Row, Script
from speech.tts.lm import TextSpeechLM
from speech.tts.sampling import Sampler
from speech.tts.scoring import code_lanes, parted


@dataclass(frozen=True)
class Foreseen:
    """What follows rows that the stream has come to, or may come to next. scores: [outputs].

    state: [d], the decoder's behind these rows; None where a draft head gave the scores, and the decoder has yet to
    take the rows.
    """

    rows: list[Row]
    scores: Tensor
    state: Tensor | None = None


class Generation:
    """One stream of speech codes, whose text may come while it speaks.

    lm: in evaluation mode. script: the stream's sequence, from a layout of the model's vocabulary. seats: where it
    steps, one in each of the model's `code_lanes`, which it clears first (default: of its own). Raises SpeechError if
    script or sampler ask for another model.

    Rows of guesses are fed behind those that are certain. When the stream comes to such rows, what follows them is
    known without a pass; when it says something else, its next rows are written over them.
    """

    def __init__(self, lm: TextSpeechLM, script: Script, sampler: Sampler, seats: Sequence[Seat] | None = None) -> None:
        if script.vocabulary != lm.config.vocabulary:
            raise SpeechError("expected a layout of the model's own vocabulary, got one of another: make it anew")
        lm.config.check(sampler.config)
        self.lm, self.script, self.sampler = lm, script, sampler
        if seats is None:
            seats = [lane.open() for lane in code_lanes(lm, sampler.config)]
        else:
            for seat in seats:
                seat.reset()
        self._decoder, *self._heads = seats
        self.position = 0  # rows that the decoder has taken, guesses aside
        self.passes = 0  # of the decoder
        self._owed: list[Row] = []  # rows of the past that the decoder has not taken
        self._state: Tensor | None = None  # the decoder's, if it has taken all rows of the past and one at least
        self._foreseen: deque[Foreseen] = deque()

    def push(self, text: Iterable[int]) -> None:
        """Take more text ids. Raises SpeechError after `end`, and for ids that the vocabulary has not."""
        self.script.push(text)

    def end(self) -> None:
        """No more text will come."""
        self.script.end()

    @property
    def done(self) -> bool:
        """Whether all that there was to say is said, or the stream broke off."""
        return self.script.done

    def codes(self) -> Iterator[int]:
        """The codes that the text so far allows, one at a time. Raises SpeechError when the stream breaks off."""
        while (code := alone(self.saying())) is not None:
            yield code

    def saying(self) -> Asking[int | None]:
        """The next one of `codes`, step by step; None when the text allows no more."""
        while self.script.ready:
            if (code := (yield from self.advancing())) is not None:
                return code
        if self.script.failure:
            raise SpeechError(self.script.failure)
        return None

    def advancing(self) -> Asking[int | None]:
        """Choose the next id, with a decoder pass where it takes one; returns the code.

        None where no code came: the stream waits, is done, broke off (`script.failure`) or passed on to the next block.
        """
        rows = self.script.feed()
        if not rows:
            return None
        if not self._foresaw(rows):
            draft = self._draft(rows)
            if draft:
                yield from draft.guessing(self.lm, self._heads)
            if items := self._items(rows, draft):
                yield from self._passing(items)
        return self._choose()

    def _foresaw(self, rows: list[Row]) -> bool:
        """Whether it is known what follows these rows, the next ones; if not, what was foreseen is forgotten."""
        if self._foreseen and self._foreseen[0].rows == rows:
            return True
        self._foreseen.clear()
        return False

    def _draft(self, rows: list[Row]) -> Draft | None:
        """Guesses that are to begin behind the next rows, if they can."""
        if self._state is None or len(rows) != 1 or not self.sampler.config.drafts:
            return None
        return Draft(self.script, self.sampler, rows[0], self._state)

    def _items(self, rows: list[Row], draft: Draft | None) -> list[list[Row]]:
        """What the decoder is to be fed: the next rows, then the row of each guess. None if the heads are trusted."""
        if draft is None:
            return [rows]
        if self.sampler.config.accept is None:
            return [[row] for row in draft.rows]
        self._foreseen.extend(Foreseen([row], scores) for row, scores in zip(draft.rows, draft.scores, strict=False))
        return [] if draft.scores else [rows]

    def _passing(self, items: list[list[Row]]) -> Asking[None]:
        """A decoder pass over all that is owed and over `items`: what follows each of these is foreseen then."""
        rows, n = torch.tensor([*self._owed, *chain(*items)]), len(items)
        states, scores = parted(self.lm, (yield Call(self._decoder, rows, self.position)))
        self.passes += 1
        self.position += len(self._owed)
        self._owed = []
        known = zip(items, scores[-n:], states[-n:], strict=True)
        self._foreseen.extend(Foreseen(*each) for each in known)

    def _choose(self) -> int | None:
        """Say what follows the next rows, which is known; the id if it is a code."""
        known, script = self._foreseen.popleft(), self.script
        if known.state is None:
            self._owed += known.rows
        else:
            self.position += len(known.rows)
        self._state = known.state
        return script.take(self.sampler(script.admit(known.scores), script.history, script.apart))
