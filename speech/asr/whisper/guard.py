"""Keeps a decoder that runs away within what can be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """Two rules that ordinary speech does not meet.

    times, longest: where up to `longest` ids come more than `times` times in a row, the text is cut behind the first
    time and ended. rate, burst: a text has at most `burst` ids more than `rate` for each second that was heard of it;
    there it waits. 15 is twice what Whisper itself gives a window, 224 ids in 30 s; English has about 4.
    """

    times: int = 3
    longest: int = 6
    rate: float = 15.0
    burst: int = 12

    def kept(self, ids: Sequence[int]) -> int:
        """How many first ids stay, the last one being new: all, or those up to the end of what is then repeated."""
        for n in range(1, self.longest + 1):
            tail = ids[-n * (self.times + 1) :]
            if len(tail) == n * (self.times + 1) and tail[n:] == tail[:-n]:
                return len(ids) - n * self.times
        return len(ids)

    def most(self, seconds: float) -> int:
        """How many ids the text of so many seconds may have."""
        return self.burst + int(self.rate * seconds)
