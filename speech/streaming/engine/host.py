"""What an engine asks of a model: lanes to step in, and streams that yield their steps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from speech.streaming.lane import Lane, Seat

Yielding = Generator[Any, Any, None]
"""What a stream does with some input, step by step: it yields calls, is sent their answers, and yields results."""


@dataclass(frozen=True)
class Regular:
    """A step that a stream takes over and over, for warming up and for foreseeing what one stream more will cost.

    count, phase: of the calls (see `Call`); shape, dtype: of one input frame; per_second: of a stream in real time;
    name: in the statistics.
    """

    lane: Lane
    count: int
    phase: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    per_second: float
    name: str = ""


class Hosted(Protocol):
    """A stream that an engine runs. Only `taken` is called in the threads of users, one at a time."""

    @property
    def seats(self) -> Sequence[Seat]:
        """Where all that the networks know of the stream lies."""
        ...

    @property
    def lead(self) -> float:
        """Seconds of sound that were given beyond the time of what was taken: so long there is no hurry.

        0 where the input is live, as the results are then due with it.
        """
        ...

    def taken(self, item: Any) -> Any:
        """Check an input and make it ready for `feeding`. Raises SpeechError for one that is not fit."""
        ...

    def feeding(self, item: Any) -> Yielding:
        """Take what `taken` returned."""
        ...

    def ending(self) -> Yielding:
        """No more input will come: give the rest."""
        ...

    def close(self) -> None:
        """Give the seats back; closing twice is fine."""
        ...


class Live(Protocol):
    """A live stream: inputs are samples [n], checked and made ready by `taken`."""

    @property
    def seats(self) -> Sequence[Seat]:
        """Where all that the networks know of the stream lies."""
        ...

    def taken(self, pcm: np.ndarray, /) -> np.ndarray:
        """Check samples and make them ready. Raises SpeechError for what is not fit."""
        ...

    def close(self) -> None:
        """Give the seats back; closing twice is fine."""
        ...


S = TypeVar("S", bound=Live)


class HostedLive(Generic[S]):
    """What the hosted streams of live sound share; `feeding` and `ending` are each one's own."""

    lead = 0.0

    def __init__(self, stream: S) -> None:
        self.stream = stream

    @property
    def seats(self) -> Sequence[Seat]:
        return self.stream.seats

    def taken(self, item: np.ndarray) -> np.ndarray:
        return self.stream.taken(item)

    def close(self) -> None:
        self.stream.close()


class Host(Protocol):
    """A model, with room for some streams."""

    @property
    def seconds(self) -> float:
        """How much later than its input, at the most, a step may end: the time that a live chunk lasts."""
        ...

    @property
    def backlog(self) -> int:
        """So much input may wait in a stream, by what `len` says of it."""
        ...

    @property
    def regular(self) -> Sequence[Regular]:
        """The steps that streams take over and over."""
        ...

    @property
    def open(self) -> Callable[..., Hosted]:
        """Begin a stream, with options of the model's own.

        Raises `Full` without a free slot, and SpeechError for options that do not fit.
        """
        ...


@runtime_checkable
class Preparing(Protocol):
    """A host some of whose streams need what takes long to make, once for all that need it."""

    def prepare(self, **options: Any) -> None:
        """Make what a stream of these options needs. It is called before `open`, in the thread of who opens.

        Raises SpeechError for options that do not fit.
        """
        ...
