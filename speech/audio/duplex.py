"""A live input and a live output on one clock: when each sample was captured, and when it will be heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from speech.audio.device import Kind, open_stream, settle
from speech.errors import SpeechError

BLOCK_SECONDS = 0.005
BUFFER_SECONDS = 0.06  # with less, a busy machine lets a speaker run dry
READINGS = 10  # of two clocks, to tell how far they are apart
LOST_SECONDS = 1.0  # without a call from a device that calls every 10 ms, it is gone

Hear = Callable[[np.ndarray, float, bool], None]
"""Takes mono samples [n], float32, the time at which the first was captured, and whether sound was lost before it."""

Play = Callable[[int, float, bool], np.ndarray]
"""Gives n mono samples [n], float32; is told when the first is heard, and whether the device ran dry before it."""


class Source(Protocol):
    """A live input. Times are seconds of `time.monotonic`."""

    name: str
    sample_rate: int

    def start(self, hear: Hear) -> None:
        """Call `hear` from another thread with every block, until `stop`."""
        ...

    def stop(self) -> None:
        """End the calls; may be called again."""
        ...

    @property
    def alive(self) -> bool:
        """Whether sound still comes."""
        ...


class Sink(Protocol):
    """A live output. Times are seconds of `time.monotonic`."""

    name: str
    sample_rate: int

    def start(self, play: Play) -> None:
        """Call `play` from another thread for every block, until `stop`."""
        ...

    def stop(self) -> None:
        """End the calls; may be called again."""
        ...

    @property
    def alive(self) -> bool:
        """Whether sound is still asked for."""
        ...


class _End:
    """What both ends share: a device that is opened by `_run`, closed by `stop`, and may be opened again."""

    kind: Kind
    share: int  # what of the buffer it asks for: one part in so many

    def __init__(
        self, device: int | str | None = None, sample_rate: int | None = None, buffer: float = BUFFER_SECONDS
    ) -> None:
        found, _, self.sample_rate = settle(self.kind, device, sample_rate)
        self.name, self._wanted, self._buffer = found.name, device, buffer
        self._stream: Any = None
        self._offset = self._called = 0.0

    @property
    def alive(self) -> bool:
        """Whether the device still calls."""
        return bool(self._stream and self._stream.active) and time.monotonic() - self._called < LOST_SECONDS

    def stop(self) -> None:
        """Close the device; what it had not played is lost."""
        if self._stream is not None:
            self._stream.close(ignore_errors=True)
            self._stream = None

    def _run(self, callback: Callable[..., None]) -> None:
        self.stop()
        device, channels, rate = settle(self.kind, self._wanted, self.sample_rate)
        if rate != self.sample_rate:
            raise SpeechError(
                f"expected the {self.kind} device '{device.name}' to run at {self.sample_rate} Hz, but it takes "
                f"{rate} Hz only: start again"
            )
        block = max(1, round(BLOCK_SECONDS * rate))
        stream = open_stream(self.kind, device, channels, rate, block, callback, self._buffer / self.share)
        self.name, self._called = device.name, time.monotonic()
        self._offset = _ahead(stream)
        stream.start()
        self._stream = stream

    def _time(self, stamp: float, current: float, otherwise: float) -> float:
        """A device's time stamp as seconds of `time.monotonic`; some systems leave it out."""
        self._called = time.monotonic()
        return (stamp or current or self._called - self._offset) + self._offset + (0.0 if stamp else otherwise)


def _ahead(stream: Any) -> float:
    """Seconds by which `time.monotonic` is ahead of a stream's clock, by the reading that was held up least."""
    readings = []
    for _ in range(READINGS):
        before, theirs, after = time.monotonic(), stream.time, time.monotonic()
        readings.append((after - before, (before + after) / 2 - theirs))
    return min(readings)[1]


class Capture(_End):
    """A live input that calls with every 5 ms of sound, and says when it was captured.

    device: number or part of the name (default: the system's). sample_rate: what to ask for (default: the device's
    own); where the device does not take it, `sample_rate` is the device's. buffer: seconds that the system may hold
    back; less is sooner, and breaks up sooner on a busy machine. Raises SpeechError where there is no such device, here
    and in `start`.

    A quarter of the buffer is asked for: sound that is read late is not lost at once, and PortAudio cuts what it has
    into four periods, by one of which the time stamps of a virtual microphone may be early. PulseAudio's null sinks
    render a period ahead of their clock, which `module-remap-source` leaves out of its latency.
    """

    kind = "input"
    share = 4

    def start(self, hear: Hear) -> None:
        """Open the device, and call `hear` from the device's thread."""

        def take(block: np.ndarray, frames: int, stamps: Any, status: Any) -> None:
            latency = 0.0 if self._stream is None else self._stream.latency
            captured = self._time(stamps.inputBufferAdcTime, stamps.currentTime, -latency)
            hear(block.mean(1), captured, status.input_overflow)

        self._run(take)


class Playback(_End):
    """A live output that asks for every 5 ms of sound, and says when it will be heard; arguments as of `Capture`."""

    kind = "output"
    share = 1

    def start(self, play: Play) -> None:
        """Open the device, and call `play` from the device's thread."""

        def give(block: np.ndarray, frames: int, stamps: Any, status: Any) -> None:
            latency = 0.0 if self._stream is None else self._stream.latency
            heard = self._time(stamps.outputBufferDacTime, stamps.currentTime, latency)
            block[:] = play(frames, heard, status.output_underflow).clip(-1.0, 1.0)[:, None]

        self._run(give)


class Recording:
    """Samples in place of a microphone: silence until `play`, then each block when it would have been captured.

    samples: [n], float32, at `sample_rate` Hz; silence follows them.
    """

    def __init__(self, samples: np.ndarray, sample_rate: int, name: str = "recording") -> None:
        self.samples, self.sample_rate, self.name = samples, sample_rate, name
        self._playing, self._stopped = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._given = 0

    @property
    def ended(self) -> bool:
        """Whether all samples have been brought."""
        return self._given >= len(self.samples)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread is not None and self._thread.is_alive()

    def play(self) -> None:
        """Let the samples come from the next block on."""
        self._playing.set()

    def start(self, hear: Hear) -> None:
        """Call `hear` from a thread of its own; another start goes on where the last one was stopped."""
        self.stop()
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, args=(hear,), name="recording", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the calls."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, hear: Hear) -> None:
        size = max(1, round(BLOCK_SECONDS * self.sample_rate))
        begin, captured = time.monotonic(), 0
        while not self._stopped.is_set():
            at = begin + captured / self.sample_rate
            captured += size
            self._stopped.wait(max(0.0, begin + captured / self.sample_rate - time.monotonic()))
            block = self.samples[:0]
            if self._playing.is_set():
                block = self.samples[self._given : self._given + size]
                self._given += size
            hear(np.pad(block, (0, size - len(block))), at, False)
