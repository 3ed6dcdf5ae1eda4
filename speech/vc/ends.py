"""The two ends of a live conversion, each called by the thread of its device: what is heard, and what is spoken."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import Enum

import numpy as np

from speech.vc.delay import rounded_up
from speech.vc.playout import CONVERTED, MISSING, Clock, PlayOut, Seam, stretch

SLACK_SECONDS = 0.001  # by which the delay may be off before a sample is put in or left out
JUMP_SECONDS = 0.008  # beyond which that would take too long: 10 ms are too much
WINDOW = 12000  # blocks, one minute: what the measured delay is the median of


class Mode(Enum):
    """What is heard."""

    CONVERTED = "converted"
    DRY = "pass-through"
    MUTED = "muted"


GAINS = {Mode.CONVERTED: (1.0, 0.0), Mode.DRY: (0.0, 1.0), Mode.MUTED: (0.0, 0.0)}
"""Of the tracks, by mode."""


class _End:
    """A device at `sample_rate` Hz: its clock, how many samples it has passed, and how far from now they were.

    `open`: sound is let through; before that the device is only measured.
    """

    def __init__(self, sample_rate: int) -> None:
        self.clock, self.count, self.open = Clock(sample_rate), 0, False
        self._away = deque[float](maxlen=WINDOW)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.clock.sample_rate

    @property
    def known(self) -> bool:
        """Whether any sound has passed since `measure`."""
        return bool(self._away)

    @property
    def latency(self) -> float:
        """Seconds to allow for the device: the 99th percentile since `measure`, rounded up."""
        return rounded_up(float(np.percentile(self._away, 99)))

    def measure(self) -> None:
        """Begin to measure."""
        self.clock.begin()
        self._away.clear()


class Hearing(_End):
    """The source's end. take: is given every block [n], float32, with the number of its first sample."""

    def __init__(self, sample_rate: int, take: Callable[[int, np.ndarray], None]) -> None:
        super().__init__(sample_rate)
        self._take = take

    def hear(self, samples: np.ndarray, captured: float, lost: bool) -> None:
        """Pass a block on; see `duplex.Hear`."""
        index, now = self.count, time.monotonic()
        if lost:
            self.clock.begin()
        self.count += len(samples)
        self.clock.update(index, captured)
        self._away.append(now - self.clock.time(index))
        if self.open:
            # a broken driver shall not end the stream
            self._take(index, np.nan_to_num(samples, posinf=0.0, neginf=0.0))


class Speaking(_End):
    """The sink's end: reads the play-out at the place that is due by the clocks of both ends.

    delays: seconds from capture to play-out, by block. missing: samples that were silent since they came too late.
    corrected: samples put in or left out to follow the clocks. jumps: how often the play-out was set anew.
    """

    def __init__(self, sample_rate: int, hearing: Hearing) -> None:
        super().__init__(sample_rate)
        self.mode = Mode.CONVERTED
        self.delays = deque[float](maxlen=WINDOW)
        self.missing = self.corrected = self.jumps = 0
        self._hearing = hearing
        self._seams = Seam(sample_rate), Seam(sample_rate)
        self._gains = np.zeros(2, np.float32)

    def follow(self, play: PlayOut, delay: float) -> None:
        """Speak, from now on, of what is captured from now on, `delay` seconds late. play: of two tracks."""
        self._play, self._delay = play, delay
        self._first = round(self._hearing.count * self.sample_rate / self._hearing.sample_rate)
        self._play.seek(round(self._due(self.count)))
        self.open = True

    def speak(self, count: int, heard: float, lost: bool) -> np.ndarray:
        """The next samples [count]; see `duplex.Play`."""
        index, now = self.count, time.monotonic()
        if lost:
            self.clock.begin()
        self.count += count
        self.clock.update(index, heard)
        self._away.append(self.clock.time(index + count) - now)
        if not self.open:
            return np.zeros(count, np.float32)
        slip = self._slip(index)
        self.delays.append(heard - self._hearing.clock.time(self._captured(self._play.position)))
        return stretch(self._mixed(count + slip), count)

    def _slip(self, index: int) -> int:
        """How many samples more than asked for to read, so as to come nearer to the place that is due: -1, 0 or 1."""
        error = self._due(index) - self._play.position
        if abs(error) > JUMP_SECONDS * self.sample_rate:
            self._play.seek(self._play.position + round(error))
            self.jumps += 1
            return 0
        slack = SLACK_SECONDS * self.sample_rate
        slip = (error > slack) - (error < -slack)
        self.corrected += abs(slip)
        return slip

    def _mixed(self, count: int) -> np.ndarray:
        """The next samples of the play-out, of both tracks as the mode wants them: [count]."""
        begun = max(0, self._first - self._play.position)
        tracks = self._play.read(count)
        if self.clock.doubtful:
            tracks[:] = MISSING
        self.missing += int(np.isnan(tracks[CONVERTED, begun:]).sum())
        gains, self._gains = self._gains, np.array(GAINS[self.mode], np.float32)
        ramp = np.linspace(gains, self._gains, count, axis=1)
        mixed = sum(seam(track) * gain for seam, track, gain in zip(self._seams, tracks, ramp, strict=True))
        return np.asarray(mixed, np.float32)

    def _captured(self, place: int) -> float:
        """The number of the captured sample that lies at a place of the play-out."""
        return place * self._hearing.sample_rate / self.sample_rate

    def _due(self, index: int) -> float:
        """The place of the sound that is to be heard in the device's sample `index`."""
        return (self.clock.time(index) - self._delay - self._hearing.clock.origin) * self.sample_rate
