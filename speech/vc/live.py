"""A voice converted while it is heard: source -> bounded queue -> one thread of compute -> bounded buffer -> sink.

Play-out follows the clock, not the computing: the sample captured at time t is heard at t plus the stated delay, or
never. Both devices tell when a sample passes them (`playout.Clock`), so the delay is kept whatever their own buffers
do; two clocks that run apart are held together by single samples, put in or left out by interpolation over 5 ms. Sound
that is not converted in time is heard as silence, as is sound of which the speaker, having run dry, does not yet say
when it will be heard. When another chunk waits behind a late one, what waits is dropped: the delay cannot climb.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from speech.audio.duplex import BLOCK_SECONDS, Sink, Source
from speech.audio.resample import Resampler
from speech.errors import SpeechError
from speech.vc.delay import Delay, Stream, compute_budget, rounded_up
from speech.vc.gate import Gate
from speech.vc.playout import MISSING, Clock, PlayOut, Seam, Track, stretch

SLACK_SECONDS = 0.001  # by which the delay may be off before a sample is put in or left out
JUMP_SECONDS = 0.008  # beyond which that would take too long: 10 ms are too much
WARM_UP_SECONDS = 1.0  # a device's first time stamps are not to be trusted
LISTEN_SECONDS, STEADY_SECONDS, ROUNDS = 1.5, 0.001, 5  # so long they are measured, until they are steady or so often
WINDOW = 12000  # blocks, one minute: what the measured delay is the median of
CONVERTED, DRY = 0, 1

Make = Callable[[int, int], Stream]
"""Opens a stream from one sample rate to another, in Hz."""


class Mode(Enum):
    """What is heard."""

    CONVERTED = "converted"
    DRY = "pass-through"
    MUTED = "muted"


GAINS = {Mode.CONVERTED: (1.0, 0.0), Mode.DRY: (0.0, 1.0), Mode.MUTED: (0.0, 0.0)}


@dataclass(frozen=True)
class Settings:
    """How to run.

    budget: seconds for computing a chunk (None: measured, the 99th percentile times 1.5). waiting: chunks that may
    wait. gate: dB of full scale under which sound counts as silence (None: convert silence too). settle: seconds of
    silence after which converting pauses, longer than the network remembers.
    """

    budget: float | None = None
    waiting: int = 2
    gate: float | None = -55.0
    settle: float = 3.0


@dataclass(frozen=True)
class Status:
    """How it runs. delay_median, delay_p99: seconds over the last minute; None before any sound was played.

    factor: real-time factor since the last status. dropped: chunks of input that were never converted. missing: seconds
    that were silent since they came too late. muted: chunks that the stream silenced since they were not finite.
    corrected: samples put in or left out to follow the devices' clocks. jumps: how often the play-out was set anew.
    asleep: the input has long been silent, nothing is computed.
    """

    delay_median: float | None
    delay_p99: float | None
    factor: float
    dropped: int
    missing: float
    muted: int
    corrected: int
    jumps: int
    asleep: bool
    target: str
    mode: Mode


class Live:
    """A running conversion. `prepare` opens the devices and settles the delay, `begin` lets sound through, `stop` ends.

    make: opens a stream of the converter. rescan: called between closing lost devices and opening them again. Raises
    SpeechError where a device does not open.
    """

    def __init__(
        self,
        make: Make,
        source: Source,
        sink: Sink,
        settings: Settings | None = None,
        rescan: Callable[[], None] = lambda: None,
    ) -> None:
        self.source, self.sink, self.settings = source, sink, settings or Settings()
        self.mode = Mode.CONVERTED
        self.failure: Exception | None = None
        self._make, self._rescan = make, rescan
        self._stream = make(source.sample_rate, sink.sample_rate)
        self._input, self._output = Clock(source.sample_rate), Clock(sink.sample_rate)
        self._heard = self._asked = 0  # samples, of all openings
        self._lags, self._leads = deque[float](maxlen=WINDOW), deque[float](maxlen=WINDOW)
        blocks = self.settings.waiting * self._stream.chunk / (BLOCK_SECONDS * source.sample_rate)
        self._waiting = deque[tuple[int, np.ndarray]](maxlen=max(2, math.ceil(blocks)))
        self._arrived = threading.Condition()
        self._worker: threading.Thread | None = None
        self._ready = self._stopped = False
        self._delays = deque[float](maxlen=WINDOW)
        self._busy, self._dropped, self._missing, self._corrected, self._jumps = 0.0, 0, 0, 0, 0
        self._since = (time.monotonic(), 0.0)
        self._seams = Seam(sink.sample_rate), Seam(sink.sample_rate)
        self._gains = np.zeros(2, np.float32)
        level, settle = self.settings.gate, self.settings.settle
        self._gate = None if level is None else Gate(source.sample_rate, self._stream.chunk, level, settle)

    # the life of a conversion

    def prepare(self) -> Delay:
        """Open the devices, measure them and the computing, and say what the delay will be."""
        budget = self.settings.budget
        if budget is None:
            budget = compute_budget(self._make(self.source.sample_rate, self.sink.sample_rate))
        self._open()
        if not self._lags or not self._leads:
            self.stop()
            raise SpeechError(
                f"expected sound to pass '{self.source.name}' and '{self.sink.name}', but none does: see that both are "
                "plugged in and not held by another program"
            )
        parts = self._stream.latency
        self.delay = Delay(
            device_in=rounded_up(float(np.percentile(self._lags, 99))),
            resampling_in=parts.resampling_in,
            chunk=parts.chunk,
            look_ahead=parts.look_ahead,
            vocoder=parts.vocoder,
            resampling_out=parts.resampling_out,
            compute=budget,
            device_out=rounded_up(float(np.percentile(self._leads, 99))),
        )
        return self.delay

    def begin(self) -> None:
        """Let sound through, after `prepare`."""
        rates = self.source.sample_rate, self.sink.sample_rate
        self._play = PlayOut(2, round((self.delay.total + 1) * self.sink.sample_rate))
        self._tracks = (
            Track(self._play, CONVERTED, self._stream.feed, *rates, self._stream.latency.total),
            Track(self._play, DRY, Resampler(*rates).push, *rates),
        )
        self._since = (time.monotonic(), 0.0)
        self._let_through()
        self._worker = threading.Thread(target=self._work, name="conversion", daemon=True)
        self._worker.start()

    def stop(self) -> None:
        """End all threads and close the devices."""
        self._ready = False
        self.source.stop()
        self.sink.stop()
        with self._arrived:
            self._stopped = True
            self._arrived.notify()
        if self._worker is not None:
            self._worker.join()

    @property
    def healthy(self) -> bool:
        """Whether both devices run. Raises what has ended the computing, if anything has."""
        if self.failure is not None:
            raise self.failure
        return self.source.alive and self.sink.alive

    def resume(self) -> bool:
        """Open lost devices again; whether they are back. What was under way is lost, the delay stays."""
        self._ready = False
        self.source.stop()
        self.sink.stop()
        try:
            self._rescan()
            self._open()
        except SpeechError:
            return False
        if not (self.source.alive and self.sink.alive):
            return False
        self._let_through()
        return True

    def _let_through(self) -> None:
        self._waiting.clear()
        self._next = self._heard
        self._first = round(self._heard * self.sink.sample_rate / self.source.sample_rate)
        self._play.seek(round(self._due(self._asked)))
        self._ready = True

    def _open(self) -> None:
        """Open both devices and let their clocks settle: a sound server takes seconds to learn those of its own."""
        self.source.start(self._hear)
        try:
            self.sink.start(self._speak)
        except SpeechError:
            self.source.stop()
            raise
        time.sleep(WARM_UP_SECONDS)
        clocks = self._input, self._output
        for _ in range(ROUNDS):
            for clock, seen in zip(clocks, (self._lags, self._leads), strict=True):
                clock.begin()
                seen.clear()
            time.sleep(LISTEN_SECONDS)
            if max(clock.spread for clock in clocks) < STEADY_SECONDS:
                break

    # what is asked for while it runs

    @property
    def target(self) -> str:
        """Whose voice is heard; setting it takes effect from the next chunk on."""
        return self._stream.target

    @target.setter
    def target(self, name: str) -> None:
        self._stream.target = name

    @property
    def asleep(self) -> bool:
        """Whether the input has been silent for so long that nothing is computed."""
        return self._gate is not None and self._gate.closed

    def status(self) -> Status:
        """How it runs at this moment."""
        now, (then, busy) = time.monotonic(), self._since
        self._since = (now, self._busy)
        delays = list(self._delays)
        median, p99 = (float(np.percentile(delays, q)) for q in (50, 99)) if delays else (None, None)
        return Status(
            delay_median=median,
            delay_p99=p99,
            factor=(self._busy - busy) / max(now - then, 1e-9),
            dropped=math.ceil(self._dropped / self._stream.chunk),
            missing=self._missing / self.sink.sample_rate,
            muted=self._stream.muted_chunks,
            corrected=self._corrected,
            jumps=self._jumps,
            asleep=self.asleep,
            target=self.target,
            mode=self.mode,
        )

    # the source's thread

    def _hear(self, samples: np.ndarray, captured: float, lost: bool) -> None:
        index, now = self._heard, time.monotonic()
        if lost:
            self._input.begin()
        samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)  # a broken driver shall not end the stream
        self._heard += len(samples)
        self._input.update(index, captured)
        self._lags.append(now - self._input.time(index))
        if self._ready:
            with self._arrived:
                self._waiting.append((index, samples))
                self._arrived.notify()

    # the thread of compute

    def _work(self) -> None:
        try:
            for position, samples in self._blocks():
                self._tracks[DRY].push(position, samples)
                self._dropped += max(0, position - self._next)
                self._next = position + len(samples)
                if self._convert(position, samples) and self._backlog() >= self._stream.chunk:
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
        self._busy += time.perf_counter() - begin
        return late

    def _backlog(self) -> int:
        with self._arrived:
            return sum(len(samples) for _, samples in self._waiting)

    def _drop(self) -> None:
        """Let the next chunk begin with what comes now."""
        with self._arrived:
            waiting = list(self._waiting)
            self._waiting.clear()
        for position, samples in waiting:
            self._tracks[DRY].push(position, samples)

    # the sink's thread

    def _speak(self, count: int, heard: float, lost: bool) -> np.ndarray:
        index, now = self._asked, time.monotonic()
        if lost:
            self._output.begin()
        self._asked += count
        self._output.update(index, heard)
        self._leads.append(self._output.time(index + count) - now)
        if not self._ready:
            return np.zeros(count, np.float32)
        rate = self.sink.sample_rate
        error = self._due(index) - self._play.position
        if abs(error) > JUMP_SECONDS * rate:
            self._play.seek(self._play.position + round(error))
            self._jumps += 1
            error = 0.0
        slip = (error > SLACK_SECONDS * rate) - (error < -SLACK_SECONDS * rate)
        self._corrected += abs(slip)
        self._delays.append(heard - self._input.time(self._play.position * self.source.sample_rate / rate))
        begun = max(0, self._first - self._play.position)
        tracks = self._play.read(count + slip)
        if self._output.doubtful:
            tracks[:] = MISSING
        self._missing += int(np.isnan(tracks[CONVERTED, begun:]).sum())
        gains, self._gains = self._gains, np.array(GAINS[self.mode], np.float32)
        ramp = np.linspace(gains, self._gains, count + slip, axis=1)
        mixed = sum(seam(track) * gain for seam, track, gain in zip(self._seams, tracks, ramp, strict=True))
        return stretch(np.asarray(mixed, np.float32), count)

    def _due(self, index: int) -> float:
        """The place of the sound that is to be heard in the device's sample `index`."""
        return (self._output.time(index) - self.delay.total - self._input.origin) * self.sink.sample_rate
