"""What steps cost, and whether the machine can carry one stream more."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch

from speech.streaming.engine.host import Regular
from speech.streaming.lane import Call, Lane

REPEATS = 3
LONG = 0.2  # seconds on a CPU that are not repeated: what is done once for all is a small part of so much
FADE = 0.05  # weight of a new measurement


class Cost:
    """Seconds of a step by its number of rows: measured at first, followed from then on, interpolated between."""

    def __init__(self, seconds: Mapping[int, float]) -> None:
        self.seconds = dict(sorted(seconds.items()))

    def __call__(self, rows: float) -> float:
        """Seconds of a step of so many rows."""
        known = list(self.seconds.items())
        for (low, fast), (high, slow) in pairwise(known):
            if rows <= high:
                return fast + (slow - fast) * (max(rows, low) - low) / (high - low)
        high, slow = known[-1]
        return slow * max(rows / high, 1.0)

    def learn(self, rows: int, seconds: float) -> None:
        """A step of `rows` rows took so long: the nearest size that is known from there on moves towards it."""
        sizes = list(self.seconds)
        size = sizes[min(bisect_left(sizes, rows), len(sizes) - 1)]
        self.seconds[size] += FADE * (seconds * size / max(rows, size) - self.seconds[size])


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


def load(streams: Mapping[Regular, int], costs: Mapping[Lane, Cost], most: int, window: float) -> float:
    """The share of time that so many streams take of each of these steps, in batches of what comes within `window`
    seconds, `most` at once at the most.
    """
    total = 0.0
    for step, count in streams.items():
        rate = count * step.per_second
        rows = min(max(rate * window, 1.0), most, count or 1)
        total += rate / rows * costs[step.lane](rows)
    return total
