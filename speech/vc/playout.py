"""What is to be heard when: samples by their place in the stream, for a reader that never waits."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

MISSING, SILENT = np.nan, np.inf
"""A sample that has not come, and one that is left out on purpose: both are heard as silence, the first is counted."""

CONVERTED, DRY = 0, 1
"""The tracks of a live conversion: the voice that was asked for, and the one that is spoken."""

DECAY_SECONDS = 0.0015  # a sound that breaks off falls to 1 / e in this time
JUMP_SECONDS = 0.008  # clocks do not drift so far at once
PATIENCE = 20  # blocks, 0.1 s: more than a device takes at once, which may have one wrong time stamp in common
WINDOW = 600  # blocks, 3 s: what the time of a clock is the median of


class Clock:
    """When sample i of a device passes it, from its time stamps: the median of late, which follows slow drift.

    Stamps jitter, some wander for seconds, and some are wrong by tens of milliseconds: a thread was held up while it
    took one, or a sound server rounded a delay below 0 up to it. The median is moved little by any. Where stamps stay
    away, the device lost samples.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate, self.origin = sample_rate, 0.0
        self._origins = np.zeros(WINDOW)
        self.begin()

    def begin(self) -> None:
        """Forget, but go on until another time stamp comes: the device was opened anew, or lost samples."""
        self._seen = self._away = 0

    def update(self, index: int, time: float) -> None:
        """Sample `index` passed at `time` seconds, as the device says."""
        origin = time - index / self.sample_rate
        self._away = self._away + 1 if self._seen and abs(origin - self.origin) > JUMP_SECONDS else 0
        if self._away >= PATIENCE:
            self.begin()
        self._origins[self._seen % WINDOW] = origin
        self._seen += 1
        self.origin = float(np.median(self._origins[: self._seen]))

    @property
    def doubtful(self) -> bool:
        """Whether there are too few time stamps to tell by."""
        return self._seen < PATIENCE

    @property
    def spread(self) -> float:
        """Seconds within which eight of ten time stamps lie; infinite before any came."""
        if not self._seen:
            return math.inf
        low, high = np.percentile(self._origins[: self._seen], (10, 90))
        return float(high - low)

    def time(self, index: float) -> float:
        """When sample `index` passes, in seconds."""
        return self.origin + index / self.sample_rate


class Placement:
    """Where in the input the outputs of a stream belong, though parts of the input were left out.

    from_rate, to_rate: of what is pushed and of what comes out, in Hz. Output `delay` + i of the stream belongs to
    input i * from_rate / to_rate of what was pushed.
    """

    def __init__(self, from_rate: int, to_rate: int, delay: int = 0) -> None:
        self._ratio = to_rate / from_rate
        self._pushed, self._made = 0, -delay
        self._shifts = [(-delay, 0)]  # from which output on, by how many outputs the input ran ahead of what was pushed

    def push(self, position: int, count: int) -> None:
        """`count` samples are pushed, the first of which is number `position` of the input."""
        shift = round((position - self._pushed) * self._ratio)
        if not self._pushed:
            self._shifts = [(self._made, shift)]
        elif shift != self._shifts[-1][1]:
            self._shifts.append((round(self._pushed * self._ratio), shift))
        self._pushed += count

    @property
    def next(self) -> int:
        """The place of the next output, as far as is known."""
        return self._made + next(shift for start, shift in reversed(self._shifts) if start <= self._made)

    def place(self, samples: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The next outputs [n] in pieces, each with the place of its first sample, in output samples."""
        begin, end = self._made, self._made + len(samples)
        self._made = end
        while len(self._shifts) > 1 and self._shifts[1][0] <= begin:
            del self._shifts[0]
        starts = [start for start, _ in self._shifts[1:]]
        for (start, shift), stop in zip(self._shifts, [*starts, end], strict=True):
            low, high = max(start, begin), min(stop, end)
            if low < high:
                yield low + shift, samples[low - begin : high - begin]


class PlayOut:
    """A bounded buffer of `tracks` signals by place, written in any order by one thread and read in order by another.

    capacity: samples; what is written further ahead of the reader than this, or behind it, is lost.
    """

    def __init__(self, tracks: int, capacity: int) -> None:
        self._ring = np.full((tracks, capacity), MISSING, np.float32)
        self._lock = threading.Lock()
        self.position = 0

    def write(self, track: int, start: int, samples: np.ndarray | float, count: int | None = None) -> int:
        """Put samples [n], or `count` times one value, at `start`; returns how many came too late to be heard."""
        count = len(samples) if isinstance(samples, np.ndarray) else count or 0
        with self._lock:
            low, high = max(start, self.position), min(start + count, self.position + self._ring.shape[1])
            if low < high:
                cells = np.arange(low, high) % self._ring.shape[1]
                self._ring[track, cells] = (
                    samples[low - start : high - start] if isinstance(samples, np.ndarray) else samples
                )
        return max(0, min(count, low - start))

    def read(self, count: int) -> np.ndarray:
        """The next samples [tracks, count]."""
        with self._lock:
            cells = np.arange(self.position, self.position + count) % self._ring.shape[1]
            out = self._ring[:, cells]
            self._ring[:, cells] = MISSING
            self.position += count
        return out

    def seek(self, position: int) -> None:
        """Read on from there; what lies before it is lost."""
        with self._lock:
            passed = position - self.position
            if passed >= self._ring.shape[1] or passed <= -self._ring.shape[1]:
                self._ring[:] = MISSING
            elif passed > 0:
                self._ring[:, np.arange(self.position, position) % self._ring.shape[1]] = MISSING
            elif passed < 0:  # cells now far ahead would be taken for those just behind
                self._ring[:, np.arange(position, self.position) % self._ring.shape[1]] = MISSING
            self.position = position


class Track:
    """One way from input to play-out. delay: seconds by which what `process` returns is late."""

    def __init__(
        self,
        play: PlayOut,
        number: int,
        process: Callable[[np.ndarray], np.ndarray],
        from_rate: int,
        to_rate: int,
        delay: float = 0.0,
    ) -> None:
        self._play, self._number, self._process = play, number, process
        self._ratio = to_rate / from_rate
        self._placement = Placement(from_rate, to_rate, round(delay * to_rate))

    def push(self, position: int, samples: np.ndarray) -> int:
        """Process samples [n] that begin at `position` of the input; returns how many outputs came too late."""
        self._placement.push(position, len(samples))
        pieces = self._placement.place(self._process(samples))
        return sum(self._play.write(self._number, start, piece) for start, piece in pieces)

    def silence(self, until: int) -> None:
        """Nothing will be processed up to `until` of the input: what has not come of this is silent."""
        start = self._placement.next
        self._play.write(self._number, start, SILENT, max(0, round(until * self._ratio) - start))


class Seam:
    """Turns samples that are `MISSING` or `SILENT` into silence without a click: a short decay, then a fade in.

    sample_rate: in Hz. fade: seconds in which sound comes back.
    """

    def __init__(self, sample_rate: int, fade: float = 0.005) -> None:
        self._fall = float(np.exp(-1 / (DECAY_SECONDS * sample_rate)))
        self._rise = 1 / max(1.0, fade * sample_rate)
        self._gain, self._tail, self._last = 0.0, 0.0, 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x: [n] -> [n], finite."""
        gap = ~np.isfinite(x)
        out = np.empty_like(x)
        edges = [0, *(np.flatnonzero(gap[1:] != gap[:-1]) + 1).tolist(), len(x)]
        for low, high in pairwise(edges):
            if low == high:
                continue
            if gap[low] and self._gain > 0:
                self._gain, self._tail = 0.0, self._last
            steps = np.arange(1, high - low + 1, dtype=np.float32)
            out[low:high] = self._tail * self._fall**steps
            self._tail *= self._fall ** (high - low)
            if not gap[low]:
                out[low:high] += x[low:high] * np.minimum(1, self._gain + self._rise * steps)
                self._gain = min(1.0, self._gain + self._rise * (high - low))
            self._last = float(out[high - 1])
        return out


def stretch(x: np.ndarray, count: int) -> np.ndarray:
    """x: [..., n] -> [..., count]: the same sound in one sample more or less, by linear interpolation."""
    if x.shape[-1] == count:
        return x
    at = np.arange(count) * (x.shape[-1] / count)
    low = at.astype(int)
    high, part = np.minimum(low + 1, x.shape[-1] - 1), (at - low).astype(np.float32)
    return x[..., low] * (1 - part) + x[..., high] * part
