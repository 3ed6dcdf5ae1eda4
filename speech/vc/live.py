"""A voice converted while it is heard: source -> bounded queue -> one thread of compute -> bounded buffer -> sink.

Play-out follows the clock, not the computing: the sample captured at time t is heard at t plus the stated delay, or
never. Both devices tell when a sample passes them (`playout.Clock`), so the delay is kept whatever their own buffers
do; two clocks that run apart are held together by single samples, put in or left out by interpolation over 5 ms. Sound
that is not converted in time is heard as silence, as is sound of which the speaker, having run dry, does not yet say
when it will be heard. When another chunk waits behind a late one, what waits is dropped: the delay cannot climb.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from speech.audio.duplex import Sink, Source
from speech.errors import SpeechError
from speech.vc.computing import Computing
from speech.vc.delay import Delay, Stream, compute_budget
from speech.vc.ends import Hearing, Mode, Speaking
from speech.vc.gate import Gate
from speech.vc.playout import PlayOut

WARM_UP_SECONDS = 1.0  # a device's first time stamps are not to be trusted
LISTEN_SECONDS, STEADY_SECONDS, ROUNDS = 1.5, 0.001, 5  # so long they are measured, until they are steady or so often

Make = Callable[[int, int], Stream]
"""Opens a stream from one sample rate to another, in Hz."""


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
        self._make, self._rescan = make, rescan
        rates = source.sample_rate, sink.sample_rate
        self._stream, level = make(*rates), self.settings.gate
        gate = None if level is None else Gate(rates[0], self._stream.chunk, level, self.settings.settle)
        self._computing = Computing(self._stream, *rates, self.settings.waiting, gate)
        self._hearing = Hearing(rates[0], self._computing.take)
        self._speaking = Speaking(rates[1], self._hearing)
        self._since = (time.monotonic(), 0.0)

    def prepare(self) -> Delay:
        """Open the devices, measure them and the computing, and say what the delay will be.

        Raises SpeechError where a device does not open, or nothing passes it.
        """
        budget = self.settings.budget
        if budget is None:
            budget = compute_budget(self._make(self.source.sample_rate, self.sink.sample_rate))
        self._open()
        if not self._hearing.known or not self._speaking.known:
            self.stop()
            raise SpeechError(
                f"expected sound to pass '{self.source.name}' and '{self.sink.name}', but none does: see that both are "
                "plugged in and not held by another program"
            )
        parts = self._stream.latency
        self.delay = Delay(
            device_in=self._hearing.latency,
            resampling_in=parts.resampling_in,
            chunk=parts.chunk,
            look_ahead=parts.look_ahead,
            vocoder=parts.vocoder,
            resampling_out=parts.resampling_out,
            compute=budget,
            device_out=self._speaking.latency,
        )
        return self.delay

    def begin(self) -> None:
        """Let sound through, after `prepare`."""
        self._play = PlayOut(2, round((self.delay.total + 1) * self.sink.sample_rate))
        self._since = (time.monotonic(), 0.0)
        self._computing.start(self._play)
        self._let_through()

    def stop(self) -> None:
        """End all threads and close the devices."""
        self._close()
        self._computing.stop()

    @property
    def healthy(self) -> bool:
        """Whether both devices run. Raises what has ended the computing, if anything has."""
        if self._computing.failure is not None:
            raise self._computing.failure
        return self.source.alive and self.sink.alive

    def resume(self) -> bool:
        """Open lost devices again; whether they are back. What was under way is lost, the delay stays."""
        self._close()
        try:
            self._rescan()
            self._open()
        except SpeechError:
            return False
        if not (self.source.alive and self.sink.alive):
            return False
        self._let_through()
        return True

    @property
    def target(self) -> str:
        """Whose voice is heard; setting it takes effect from the next chunk on."""
        return self._stream.target

    @target.setter
    def target(self, name: str) -> None:
        self._stream.target = name

    @property
    def mode(self) -> Mode:
        """What is heard; setting it takes effect at once, without a click."""
        return self._speaking.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._speaking.mode = mode

    @property
    def asleep(self) -> bool:
        """Whether the input has been silent for so long that nothing is computed."""
        return self._computing.asleep

    def status(self) -> Status:
        """How it runs at this moment."""
        now, (then, busy), spoken = time.monotonic(), self._since, self._speaking
        self._since = (now, self._computing.busy)
        delays = list(spoken.delays)
        median, p99 = (float(np.percentile(delays, q)) for q in (50, 99)) if delays else (None, None)
        return Status(
            delay_median=median,
            delay_p99=p99,
            factor=(self._since[1] - busy) / max(now - then, 1e-9),
            dropped=math.ceil(self._computing.dropped / self._stream.chunk),
            missing=spoken.missing / self.sink.sample_rate,
            muted=self._stream.muted_chunks,
            corrected=spoken.corrected,
            jumps=spoken.jumps,
            asleep=self.asleep,
            target=self.target,
            mode=self.mode,
        )

    def _open(self) -> None:
        """Open both devices and let their clocks settle: a sound server takes seconds to learn those of its own."""
        self.source.start(self._hearing.hear)
        try:
            self.sink.start(self._speaking.speak)
        except SpeechError:
            self.source.stop()
            raise
        time.sleep(WARM_UP_SECONDS)
        ends = self._hearing, self._speaking
        for _ in range(ROUNDS):
            for end in ends:
                end.measure()
            time.sleep(LISTEN_SECONDS)
            if max(end.clock.spread for end in ends) < STEADY_SECONDS:
                break

    def _let_through(self) -> None:
        self._computing.follow(self._hearing.count)
        self._speaking.follow(self._play, self.delay.total)
        self._hearing.open = True

    def _close(self) -> None:
        self._hearing.open = self._speaking.open = False
        self.source.stop()
        self.sink.stop()
