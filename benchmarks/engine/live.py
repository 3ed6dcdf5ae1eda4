"""A number of live streams on an engine, for some time: what they got, and what it cost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.engine.people import Listener, Model, Speaker, attend, gathered
from benchmarks.measure import Result
from benchmarks.transcribe import resident
from speech.streaming.engine.engine import Engine
from speech.streaming.engine.stats import KEPT, Percentiles, Stats

SETTLING = 2.0  # seconds that do not count


@dataclass(frozen=True)
class Measured:
    """stats: of the engine at the end, percentiles of all that counts. p99: of the latency in seconds, or the worst of
    each second's where more was measured than is kept. misses, inputs: in the time that counts. late: seconds, how late
    the turns of people were. refused: inputs for which there was no room. waited: seconds to the first sound, of each
    listener, gaps: when there was none. memory: bytes at the start, in the middle, at the end. cpu: of the time, cores
    that the process kept busy.
    """

    stats: Stats
    p99: float
    misses: int
    inputs: int
    late: np.ndarray
    refused: int
    waited: list[float | None]
    gaps: int
    memory: tuple[float, float, float]
    cpu: float


def measure(engine: Engine, model: Model, count: int, seconds: float, period: float) -> Measured:
    """Let so many people use the engine for some seconds. period: seconds of a push."""
    people = gathered(engine, model, count, period)
    try:
        deque(attend(people, SETTLING, max(engine.host.seconds, period), lambda: None), 0)  # chunks end at any time
        before, worst, memory = engine.stats(restart=True), [], [resident()]

        def watch() -> None:
            worst.append(engine.stats().latency)
            memory.append(resident())

        begin, spent = time.monotonic(), time.process_time()
        late = np.fromiter(attend(people, seconds, period, watch), float)
        cpu = (time.process_time() - spent) / (time.monotonic() - begin)
        stats = engine.stats()
        memory.append(resident())
    finally:
        for person in people:
            person.session.close()
    whole = stats.latency.count < KEPT or not worst
    listeners = [person for person in people if isinstance(person, Listener)]
    return Measured(
        stats,
        stats.latency.p99 if whole else max(found.p99 for found in worst),
        stats.misses - before.misses,
        stats.inputs - before.inputs,
        late,
        sum(person.refused for person in people if isinstance(person, Speaker)),
        [person.waited for person in listeners],
        sum(person.gaps for person in listeners),
        (memory[0], memory[len(memory) // 2], memory[-1]),
        cpu,
    )


def results(case: str, found: Measured, threads: int) -> Iterator[Result]:
    """All that was measured."""
    stats = found.stats
    if found.waited:
        waited = np.array([np.inf if waited is None else waited for waited in found.waited])
        first = Percentiles(len(waited), *np.percentile(waited, [50, 90, 99, 100], method="higher").tolist())
        yield from _times(f"{case}: first sound", first, threads)
        yield Result(f"{case}: gaps", "value", found.gaps, "", len(waited), threads)
    else:
        yield from _times(f"{case}: chunk to event", replace(stats.latency, p99=found.p99), threads)
    yield from _times(f"{case}: overhead of a step", stats.overhead, threads)
    for name, step in stats.steps.items():
        label = f"{case}: {name or 'network'}, a step"
        yield from _times(label, step.seconds, threads)
        yield Result(label, "rows", step.rows, "", step.steps, threads)
    for name, value, of in (
        ("inputs late", found.misses, found.inputs),
        ("inputs refused", found.refused, found.inputs),
        ("real-time factor", sum(step.real_time_factor for step in stats.steps.values()), 1),
        ("time in steps", stats.busy, 1),
        ("time foreseen", stats.load, 1),
        ("time needed", stats.needed, 1),
        ("cores kept busy", found.cpu, 1),
    ):
        yield Result(f"{case}: {name}", "value", value, "", of, threads)
    late = 1e3 * float(np.percentile(found.late, 99))
    yield Result(f"{case}: pushes late", "p99", late, "ms", len(found.late), threads)
    for name, memory in zip(("at the start", "in the middle", "at the end"), found.memory, strict=True):
        yield Result(f"{case}: {name}", "memory", memory / 2**20, "MiB", 1, threads)


def _times(case: str, found: Percentiles, threads: int) -> Iterator[Result]:
    for metric in ("p50", "p90", "p99", "most"):
        yield Result(case, metric, 1e3 * getattr(found, metric), "ms", found.count, threads)
