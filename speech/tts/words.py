"""When words are spoken: by their codes, where a layout knows these, or by listening to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from speech.asr.alignment import Alignment
from speech.asr.forced import WORD
from speech.streaming.lane import Asking, Seat
from speech.tts.render import Renderer


@dataclass(frozen=True)
class SpokenWord:
    """A word and when it is spoken, in seconds from the stream's start."""

    text: str
    start: float
    end: float

    def to_dict(self, begun: float = 0.0) -> dict[str, Any]:
        """Plain data, times to the millisecond. begun: when the stream itself began, in seconds."""
        return {"text": self.text, "start": round(begun + self.start, 3), "end": round(begun + self.end, 3)}


class SpokenWords:
    """The words of one stream of speech, each told once, as soon as it is known when it is spoken.

    rate: of the samples, in Hz. alignment: hears the words of a layout that does not know their codes.
    """

    def __init__(self, rate: int, alignment: Alignment | None = None) -> None:
        self.rate, self.alignment = rate, alignment
        self._coded: deque[tuple[str, int, int]] = deque()
        self._heard: list[SpokenWord] = []
        self._begun = 0.0

    @property
    def seats(self) -> list[Seat]:
        """Where all that a network knows of them lies."""
        return [self.alignment.seat] if self.alignment else []

    def begin(self, samples: int) -> None:
        """A stream of sound begins, so many samples after speech did."""
        self._begun = samples / self.rate
        if self.alignment:
            self.alignment.reset()

    def expect(self, text: str) -> None:
        """This is spoken next, a sentence or so; where there is an alignment, it listens for its words."""
        if self.alignment:
            self.alignment.expect(WORD.findall(text))

    def know(self, words: Iterable[tuple[str, int, int]]) -> None:
        """Words with their first code and the one after their last, in the count of the stream of sound."""
        self._coded.extend(words)

    def hearing(self, sound: np.ndarray, last: bool) -> Asking[None]:
        """Listen to the next samples [n] of the stream of sound, step by step. last: there are no more."""
        if self.alignment is None:
            return
        yield from self.alignment.hearing(sound)
        told = (yield from self.alignment.ending()) if last else self.alignment.settled()
        words = [word for segment in told for word in segment.words]
        self._heard += [SpokenWord(w.text, self._begun + w.start, self._begun + w.end) for w in words]

    def told(self, renderer: Renderer | None, samples: int) -> tuple[SpokenWord, ...]:
        """The words that lie in the first `samples` of the speech; `renderer` knows when codes begin."""
        words, self._heard = self._heard, []
        while renderer is not None and self._coded and renderer.begins(self._coded[0][2]) <= samples:
            text, first, last = self._coded.popleft()
            words.append(SpokenWord(text, *(renderer.begins(code) / self.rate for code in (first, last))))
        return tuple(words)
