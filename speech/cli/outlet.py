"""Where `speech say` and `speech synthesize` send sound: a file, standard output, the speaker."""

from __future__ import annotations

import queue
import signal
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from speech.errors import SpeechError

if TYPE_CHECKING:
    import numpy as np

WAITING = 16  # sounds that may wait to be passed on: with more, a long text would run far ahead of the listener
SLICE_SECONDS = 0.05  # that cannot be taken back once they are passed on
UNKNOWN = 0xFFFFFFFF  # bytes, of a WAV whose length is not known yet


class Sink(Protocol):
    """Takes mono samples [n] in order."""

    sample_rate: int

    def write(self, samples: np.ndarray) -> None: ...


class Pipe:
    """Standard output as a 16-bit WAV stream, whose header leaves its length open."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        layout = (b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
        self._put(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", UNKNOWN, b"WAVE", *layout, b"data", UNKNOWN))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, samples: np.ndarray) -> None:
        """Pass samples on at once."""
        self._put((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())

    def _put(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # nobody reads on: no failure of ours
            raise
        except OSError as error:
            raise SpeechError(
                f"expected to write the sound to standard output, but {error.strerror}: make room, or pipe it elsewhere"
            ) from error


def sink(out: str | None, speaker: str | None, sample_rate: int) -> AbstractContextManager[Sink]:
    """A file by its name, "-" for standard output, None for the speaker of that name or number (None: the default)."""
    if out == "-":
        return Pipe(sample_rate)
    if out is not None:
        from speech.audio.writer import Writer

        return Writer(out, sample_rate)
    from speech.audio.device import Speaker

    try:
        return Speaker(sample_rate, speaker)
    except SpeechError as error:
        raise SpeechError(f"{error}; or let `--out FILE` write the sound to a file") from error


class Outlet:
    """Passes sound on in a thread of its own, so that the next is made while the last one plays.

    Leaving the context waits until all is passed on; a `live` one that is left by Ctrl-C drops what waits and silences
    a speaker at once. Ctrl-C while it waits has that effect on any. What the sink raises is raised by the next `write`
    or on leaving; of a file that Ctrl-C left, too, since it was to be completed.
    """

    def __init__(self, target: AbstractContextManager[Sink], *, live: bool = False) -> None:
        self._target, self._live = target, live
        self._parts: queue.Queue[np.ndarray | None] = queue.Queue(WAITING)
        self._dropped = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="sound", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and isinstance(error, KeyboardInterrupt):
            self._dropped.set()
        left = error
        try:
            self._put(None)
            self._thread.join()
        except KeyboardInterrupt as interrupt:
            self._dropped.set()
            self._thread.join()
            left = interrupt
        if self._failure is not None and (left is None or (not self._live and isinstance(left, KeyboardInterrupt))):
            raise self._failure
        if left is not None and left is not error:
            raise left

    def write(self, samples: np.ndarray) -> None:
        """Pass on samples [n]; waits while much is waiting already."""
        self._put(samples)
        if self._failure is not None:
            raise self._failure

    def _put(self, samples: np.ndarray | None) -> None:
        """Wait for room, as long as the thread may make some: one that has failed takes nothing any more."""
        while self._thread.is_alive():
            with suppress(queue.Full):
                return self._parts.put(samples, timeout=0.1)

    def _run(self) -> None:
        try:
            with suppress(_Dropped), self._target as target:
                size = max(1, round(SLICE_SECONDS * target.sample_rate))
                while (samples := self._parts.get()) is not None:
                    for start in range(0, len(samples), size):
                        self._check()
                        target.write(samples[start : start + size])
                self._check()
        except Exception as failure:
            self._failure = failure

    def _check(self) -> None:
        if self._dropped.is_set():
            raise _Dropped


class _Dropped(Exception):
    """Nothing more shall be passed on: an exception, since a speaker plays to the end what it is not torn from."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within, being asked to terminate is like Ctrl-C: files are completed."""
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)
