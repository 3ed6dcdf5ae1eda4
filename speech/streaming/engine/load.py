"""What steps cost, and whether the machine can carry one stream more."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from speech.streaming.engine.host import Regular
from speech.streaming.lane import Call, Lane

REPEATS = 3
LONG = 0.2  # seconds on a CPU that are not repeated: what is done once for all is a small part of so much
FADE = 0.05  # weight of a new measurement


class Cost:
    """Seconds of a step by its number of rows: measured at first, followed from then on, interpolated between.

    joined: of the other streams that take this step, the share that goes along in a batch, followed likewise; 0 as long
    as nothing is known of it, since batches of one take the most time.
    """

    def __init__(self, seconds: Mapping[int, float]) -> None:
        self.seconds, self.joined = dict(sorted(seconds.items())), 0.0

    def __call__(self, rows: float) -> float:
        """Seconds of a step of so many rows, and no more than these would take in smaller steps: what is known of a
        size that seldom comes may be one measurement, of a moment when the machine did something else.
        """
        parts = [seconds * rows / size for size, seconds in self.seconds.items() if size <= rows]
        if rows <= max(self.seconds):
            parts.append(float(np.interp(rows, [*self.seconds], [*self.seconds.values()])))
        return min(parts)

    def learn(self, rows: int, seconds: float, streams: int) -> None:
        """A step of `rows` rows took so long, amid so many streams: what is known of the nearest size from there on
        moves towards it.
        """
        sizes = list(self.seconds)
        size = sizes[min(bisect_left(sizes, rows), len(sizes) - 1)]
        self.seconds[size] += FADE * (seconds * size / max(rows, size) - self.seconds[size])
        if streams > 1:
            self.joined += FADE * ((rows - 1) / (streams - 1) - self.joined)

    def rows(self, streams: int) -> float:
        """Rows of a batch where so many streams take this step."""
        return 1 + self.joined * (streams - 1)


def measured(step: Regular, sizes: Sequence[int]) -> Cost:
    """What a step costs, by taking it in free slots with zeros for input; the best of a few times.

    Each size begins with the first step of streams: a decoder does in it what it may leave out in others.
    """
    lane, found = step.lane, {}
    seats = [lane.open() for _ in range(min(max(sizes), lane.slots))]
    try:
        zeros = torch.zeros(step.count, *step.shape, dtype=step.dtype, device=lane.device)
        for size in sizes:
            lane.arena.reset([seat.slot for seat in seats])
            calls = [Call(seat, zeros, max(step.phase, 0), phase=step.phase) for seat in seats[:size]]
            found[size] = timed(lane, calls, size)
            once = lane.device.type == "cpu" and found[size] > LONG
            for _ in range(0 if once else REPEATS - 1):
                found[size] = min(found[size], timed(lane, calls, size))
    finally:
        for seat in seats:
            seat.close()
    return Cost(found)


def timed(lane: Lane, calls: Sequence[Call], rows: int) -> float:
    """Seconds that a step takes, until its answers are there."""
    begin = time.perf_counter()
    lane.run(calls, rows)
    if lane.device.type == "cuda":
        torch.cuda.synchronize(lane.device)
    return time.perf_counter() - begin


def foreseen(streams: Mapping[Regular, int], costs: Mapping[Lane, Cost], most: int) -> float:
    """The share of time that so many streams of each of these steps will take, if they come together in batches, of at
    most `most` rows, as they did of late.
    """
    return _share(streams, costs, lambda step, count: min(costs[step.lane].rows(count), most))


def needed(streams: Mapping[Regular, int], costs: Mapping[Lane, Cost], most: int, window: float) -> float:
    """The share of time that they cannot do without: in batches of all that comes within `window` seconds.

    An engine that has time waits for fewer, and takes more of it. But below 1 a round of steps takes no longer than
    `window`, and nothing waits for more than one round before its own.
    """
    return _share(streams, costs, lambda step, count: min(max(count * step.per_second * window, 1.0), count or 1, most))


def _share(streams: Mapping[Regular, int], costs: Mapping[Lane, Cost], rows: Callable[[Regular, int], float]) -> float:
    """rows: of a batch of this step, which so many streams take."""
    total = 0.0
    for step, count in streams.items():
        together = rows(step, count)
        total += count * step.per_second / together * costs[step.lane](together)
    return total
