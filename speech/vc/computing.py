"""The thread that converts: blocks wait for it in a bounded queue, and what it makes goes to a bounded play-out."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator

import numpy as np

from speech.audio.duplex import BLOCK_SECONDS
from speech.audio.resample import Resampler
from speech.vc.delay import Stream
from speech.vc.gate import Gate
from speech.vc.playout import CONVERTED, DRY, PlayOut, Track


class Computing:
    """Runs a stream of the converter, and the voice as it is beside it.

    from_rate, to_rate: of input and output, in Hz. waiting: chunks that may wait; the oldest block gives way to the
    newest. gate: what holds silence back, if anything does.

    busy: seconds of converting so far. dropped: samples of input that were never converted. failure: what has ended it.
    """

    def __init__(self, stream: Stream, from_rate: int, to_rate: int, waiting: int, gate: Gate | None) -> None:
        self.busy, self.dropped = 0.0, 0
        self.failure: Exception | None = None
        self._stream, self._rates, self._gate = stream, (from_rate, to_rate), gate
        blocks = math.ceil(waiting * stream.chunk / (BLOCK_SECONDS * from_rate))
        self._waiting = deque[tuple[int, np.ndarray]](maxlen=max(2, blocks))
        self._arrived, self._stopped = threading.Condition(), False
        self._thread: threading.Thread | None = None

    @property
    def asleep(self) -> bool:
        """Whether the input has been silent for so long that nothing is computed."""
        return self._gate is not None and self._gate.closed

    @property
    def backlog(self) -> int:
        """Samples that wait."""
        with self._arrived:
            return sum(len(samples) for _, samples in self._waiting)

    def start(self, play: PlayOut) -> None:
        """Begin to work. play: takes what is made, as tracks `CONVERTED` and `DRY`."""
        self._tracks = (
            Track(play, CONVERTED, self._stream.feed, *self._rates, self._stream.latency.total),
            Track(play, DRY, Resampler(*self._rates).push, *self._rates),
        )
        self._thread = threading.Thread(target=self._work, name="conversion", daemon=True)
        self._thread.start()

    def follow(self, position: int) -> None:
        """Drop what waits, uncounted: the next block will be the one from sample `position` of the input on."""
        self._waiting.clear()
        self._next = position

    def take(self, position: int, samples: np.ndarray) -> None:
        """Let a block [n], from sample `position` of the input on, wait for its turn. From any thread."""
        with self._arrived:
            self._waiting.append((position, samples))
            self._arrived.notify()

    def stop(self) -> None:
        """End the thread; again is harmless."""
        with self._arrived:
            self._stopped = True
            self._arrived.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        try:
            for position, samples in self._blocks():
                self._tracks[DRY].push(position, samples)
                self.dropped += max(0, position - self._next)
                self._next = position + len(samples)
                if self._convert(position, samples) and self.backlog >= self._stream.chunk:
                    self._drop()
        except Exception as failure:
            self.failure = failure

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        while True:
            with self._arrived:
                while not self._waiting and not self._stopped:
                    self._arrived.wait()
                if self._stopped:
                    return
                block = self._waiting.popleft()
            yield block

    def _convert(self, position: int, samples: np.ndarray) -> int:
        """Convert a block unless it is part of a long silence; returns how many outputs came too late."""
        block = (position, samples) if self._gate is None else self._gate.push(position, samples)
        if block is None:
            self._tracks[CONVERTED].silence(position + len(samples))
            return 0
        begin = time.perf_counter()
        late = self._tracks[CONVERTED].push(*block)
        self.busy += time.perf_counter() - begin
        return late

    def _drop(self) -> None:
        """Let the next chunk begin with what comes now."""
        with self._arrived:
            waiting = list(self._waiting)
            self._waiting.clear()
        for position, samples in waiting:
            self._tracks[DRY].push(position, samples)
