"""Streams of speech codes: scripts, samplers and decoder state brought together, one decoder pass at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.arena import Arena
from speech.tts.drafting import Draft, extend
from speech.tts.layout import Row, Script
from speech.tts.lm import TextSpeechLM
from speech.tts.sampling import Sampler


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

    lm: in evaluation mode. script: the stream's sequence, from a layout of the model's vocabulary. arena: the decoder
    state of all streams that shall advance together (`Arena(lm.decoder, slots)`; default: one of its own), in which it
    takes a slot. Close it to give the slot back. Raises SpeechError if script or sampler ask for another model.

    Rows of guesses are fed behind those that are certain. When the stream comes to such rows, what follows them is
    known without a pass; when it says something else, its next rows are written over them.
    """

    def __init__(self, lm: TextSpeechLM, script: Script, sampler: Sampler, arena: Arena | None = None) -> None:
        if script.vocabulary != lm.config.vocabulary:
            raise SpeechError("expected a layout of the model's own vocabulary, got one of another: make it anew")
        lm.config.check(sampler.config)
        self.lm, self.script, self.sampler = lm, script, sampler
        self.arena = Arena(lm.decoder, 1) if arena is None else arena
        self.slot = self.arena.open()
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

    def close(self) -> None:
        """Give the slot back; what is not said yet stays unsaid."""
        self.arena.close(self.slot)

    @property
    def done(self) -> bool:
        """Whether all that there was to say is said, or the stream broke off."""
        return self.script.done

    def codes(self) -> Iterator[int]:
        """The codes that the text so far allows, one at a time. Raises SpeechError when the stream breaks off."""
        while self.script.ready:
            if (code := advance([self])[0]) is not None:
                yield code
        if self.script.failure:
            raise SpeechError(self.script.failure)

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

    def _passed(self, items: list[list[Row]], scores: Tensor, states: Tensor) -> None:
        """Note a pass over all that was owed and over `items`. scores: [n, outputs], states: [n, d] behind each."""
        self.passes += 1
        self.position += len(self._owed)
        self._owed = []
        self._foreseen.extend(map(Foreseen, items, scores, states))

    def _choose(self) -> int | None:
        """Say what follows the next rows, which is known; the id if it is a code."""
        known, script = self._foreseen.popleft(), self.script
        if known.state is None:
            self._owed += known.rows
        else:
            self.position += len(known.rows)
        self._state = known.state
        return script.take(self.sampler(script.admit(known.scores), script.history, script.apart))


@torch.inference_mode()
def advance(streams: Sequence[Generation]) -> list[int | None]:
    """The next id of every stream that is ready, by a decoder pass where it takes one; all are of one model and arena.

    Streams that feed equally many rows (one, but at a block's beginning and behind drafts) share a pass, and what a
    stream says does not depend on its neighbours. Returns each stream's code, None where none came: it waits, is done,
    broke off (`script.failure`) or passed on to the next block.
    """
    fed = {stream: rows for stream in streams if (rows := stream.script.feed())}
    waiting = {stream: rows for stream, rows in fed.items() if not stream._foresaw(rows)}
    drafts = {stream: draft for stream, rows in waiting.items() if (draft := stream._draft(rows))}
    if drafts:
        extend(streams[0].lm, list(drafts.values()))
    groups: dict[int, list[tuple[Generation, list[list[Row]]]]] = {}
    for stream, rows in waiting.items():
        if items := stream._items(rows, drafts.get(stream)):
            count = len(stream._owed) + sum(map(len, items))
            groups.setdefault(count, []).append((stream, items))
    for group in groups.values():
        _pass(group)
    return [stream._choose() if stream in fed else None for stream in streams]


def _pass(group: Sequence[tuple[Generation, list[list[Row]]]]) -> None:
    """One decoder pass over what each stream owes and its items, equally many rows of all."""
    lm, arena = group[0][0].lm, group[0][0].arena
    device = arena.buffer.device
    rows = torch.tensor([[*stream._owed, *chain(*items)] for stream, items in group], device=device)
    start = torch.tensor([stream.position for stream, _ in group], device=device)
    slots = torch.tensor([stream.slot for stream, _ in group], device=device)
    most = max(len(items) for _, items in group)
    states = lm.step_states(rows, start, arena.state, slots)
    scores = lm.head(states[:, -most:]).float().cpu()
    for (stream, items), score, state in zip(group, scores, states, strict=True):
        stream._passed(items, score[-len(items) :], state[-len(items) :])
