"""Results, and wall and processor time of calls. Standard library only: workers import it in other environments.

The things compared run in turns in one run, so that they meet the same machine. Medians say what to expect there;
minima and processor time say what the code costs where other programs disturb.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Result:
    """One number. case: what was measured; repeats: how many measurements it is the median, minimum, ... of."""

    case: str
    metric: str
    value: float
    unit: str
    repeats: int = 1
    threads: int = 1


@dataclass
class Samples:
    """Seconds of wall time and of this process's processor time (all threads together) of each call."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def time(self, call: Callable[[], Any]) -> None:
        """Run `call` once and note what it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)

    def extend(self, other: Samples) -> None:
        """Take over another's samples."""
        self.wall += other.wall
        self.cpu += other.cpu

    def results(self, case: str, threads: int = 1, *, scale: float = 1e3, unit: str = "ms") -> Iterator[Result]:
        """Median and minimum of the wall time and minimum of the processor time; value = seconds * scale."""
        for metric, value in (("median", median(self.wall)), ("min", min(self.wall)), ("cpu min", min(self.cpu))):
            yield Result(case, metric, value * scale, unit, len(self.wall), threads)

    def ratios(self, base: Samples, case: str, threads: int = 1) -> Iterator[Result]:
        """How many times as long as `base` this takes."""
        n = min(len(self.wall), len(base.wall))
        yield Result(case, "median ratio", median(self.wall) / median(base.wall), "x", n, threads)
        yield Result(case, "min ratio", min(self.wall) / min(base.wall), "x", n, threads)
