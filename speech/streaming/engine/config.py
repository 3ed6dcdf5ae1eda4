"""How an engine runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import Any

from speech.errors import SpeechError


@dataclass(frozen=True)
class EngineConfig:
    """tick: seconds that the first of some steps waits for others, so that they go together.

    buckets: sizes of batches. A batch of a network is filled up to one of them, so that sizes are few and each was met
    at the start; on a CUDA device it is then captured in a graph (`graphs`). most_load: a session is refused where the
    steps of all would need more of the time (`Stats.needed`). park_after: seconds without input after which a session's
    slot may be given to another one. results: of a session that may lie there until it waits. undo: bytes on each
    device for the state of a batch as it was before its step, so that where that fails only those streams break off
    whose fault it is; of a batch with more state all do. Raises SpeechError for what cannot be.
    """

    tick: float = 0.01
    buckets: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
    most_load: float = 0.8
    park_after: float = 5.0
    results: int = 1024
    undo: int = 2**31
    graphs: bool = True

    def __post_init__(self) -> None:
        for name, (fits, wanted) in FITTING.items():
            value = getattr(self, name)
            if not fits(value):
                raise SpeechError(f"expected {name} to be {wanted}, got {value!r}: correct it")

    def bucket(self, rows: int) -> int:
        """The smallest bucket for so many rows."""
        return next(size for size in self.buckets if size >= rows)


def number(x: object, least: float = 0.0) -> bool:
    """Whether x is a number of at least so much, perhaps endless."""
    return isinstance(x, Real) and not isinstance(x, bool) and float(x) >= least


def whole(x: object, least: int = 0) -> bool:
    """Whether x is a whole number of at least so much."""
    return isinstance(x, Integral) and number(x, least)


def _rising(x: object) -> bool:
    sizes = x if isinstance(x, tuple) else ()
    return all(map(whole, sizes)) and sizes[:1] == (1,) and list(sizes) == sorted(set(sizes))


FITTING: dict[str, tuple[Callable[[Any], bool], str]] = {
    "tick": (lambda x: number(x) and x < inf, "seconds, from 0 on"),
    "buckets": (_rising, "a tuple of whole numbers that rise from 1"),
    "most_load": (lambda x: number(x) and x > 0, "a number above 0"),
    "park_after": (number, "seconds, from 0 on"),
    "results": (lambda x: whole(x, 1), "a whole number, from 1 on"),
    "undo": (whole, "a whole number of bytes, from 0 on"),
    "graphs": (lambda x: isinstance(x, bool), "True or False"),
}
"""What each setting has to be."""
