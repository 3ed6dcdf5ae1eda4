"""Sound devices in a time of their own: a live conversion runs in it without a sound card, and without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from speech.audio.duplex import Hear, Play

BLOCK = 0.01


@dataclass(frozen=True)
class Waits:
    """What a stream waits for, in seconds."""

    resampling_in: float = 0.0
    chunk: float = 0.08
    look_ahead: float = 0.03
    vocoder: float = 0.01
    resampling_out: float = 0.0

    @property
    def total(self) -> float:
        return self.resampling_in + self.chunk + self.look_ahead + self.vocoder + self.resampling_out


class Echo:
    """A stream whose converted voice is the voice itself, `latency.total` later; chunks take `cost()`."""

    def __init__(self, rate: int, gain: float = 1.0, cost: Callable[[], None] = lambda: None) -> None:
        self.latency, self.target, self.muted_chunks = Waits(), "anna", 0
        self.chunk = round(self.latency.chunk * rate)
        self.pushed, self.targets, self._rate, self._gain, self._cost = 0, [], rate, gain, cost
        self._late = np.zeros(round(self.latency.total * rate), np.float32)

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Samples [n] -> those of the chunks that they complete, [m]."""
        self.targets.append(self.target)
        self._late = np.concatenate([self._late, self._gain * samples])
        before, self.pushed = self.pushed, self.pushed + len(samples)
        if self.pushed // self.chunk == before // self.chunk:
            return self._late[:0]
        self._cost()
        kept = round((self.latency.look_ahead + self.latency.vocoder) * self._rate) + self.pushed % self.chunk
        out, self._late = np.split(self._late, [len(self._late) - kept])
        return out


class Input:
    """A source that brings `signal(t)` for the times t of its samples; its clock runs `drift` fast."""

    def __init__(self, rate: int, signal: Callable[[np.ndarray], np.ndarray], drift: float = 0.0) -> None:
        self.name, self.sample_rate, self.signal = "in", rate, signal
        self.step, self.jitter, self.lag = 1 / rate / (1 + drift), 0.0, 0.02
        self.hear: Hear | None = None
        self.plugged, self.count, self.begin, self.lost = True, 0, 0.0, False

    @property
    def alive(self) -> bool:
        return self.plugged and self.hear is not None

    def lose(self, seconds: float) -> None:
        """Pass over so much time without a sample."""
        self.begin, self.lost = self.begin + seconds, True

    def start(self, hear: Hear) -> None:
        self.hear = hear

    def stop(self) -> None:
        self.hear = None


class Output(Input):
    """A sink that notes what is heard, and when."""

    def __init__(self, rate: int, drift: float = 0.0) -> None:
        super().__init__(rate, np.zeros_like, drift)
        self.name, self.play = "out", None
        self.heard: list[tuple[float, np.ndarray]] = []

    @property
    def alive(self) -> bool:
        return self.plugged and self.play is not None

    def start(self, play: Play) -> None:  # type: ignore[override]
        self.play = play

    def stop(self) -> None:
        self.play = None

    def at(self, times: np.ndarray) -> np.ndarray:
        """What was heard at these times."""
        at = np.concatenate([begin + np.arange(len(x)) * self.step for begin, x in self.heard])
        return np.interp(times, at, np.concatenate([x for _, x in self.heard]))


class World:
    """Time, and the devices in it. Stands in for the module `time` of the code under test."""

    def __init__(self, source: Input, sink: Output) -> None:
        self.source, self.sink, self.now = source, sink, 100.0
        self.settled: Callable[[], bool] = lambda: True
        self._noise = np.random.default_rng(0)

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        """Let time pass: blocks of both devices come when they are due."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += BLOCK
            self._capture()
            self._play()

    def _capture(self) -> None:
        source, size = self.source, round(BLOCK * self.source.sample_rate)
        source.begin = source.begin or self.now - BLOCK
        while (first := source.begin + source.count * source.step) + size * source.step <= self.now + 1e-9:
            source.count += size
            times = first + np.arange(size) * source.step
            if source.alive and source.hear is not None:
                source.hear(source.signal(times).astype(np.float32), self._stamp(source, first), source.lost)
                source.lost = False
                self._settle()

    def _play(self) -> None:
        sink, size = self.sink, round(BLOCK * self.sink.sample_rate)
        sink.begin = sink.begin or self.now
        while (first := sink.begin + sink.count * sink.step) <= self.now + sink.lag:
            sink.count += size
            if sink.alive and sink.play is not None:
                sink.heard.append((first, sink.play(size, self._stamp(sink, first), sink.lost)))
                sink.lost = False

    def _stamp(self, device: Input, time: float) -> float:
        return time + self._noise.normal(0, device.jitter)

    def _settle(self) -> None:
        """Wait until the thread of compute has taken what has come."""
        deadline = time.monotonic() + 5
        while not self.settled() and time.monotonic() < deadline:
            time.sleep(0.0001)
