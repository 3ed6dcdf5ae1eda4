"""The limits of a card: steps by rows, eager, from graphs and with kernels; how many streams are real-time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch

from benchmarks.engine.live import Measured, measure, results
from benchmarks.engine.nemo import encoder_steps
from benchmarks.engine.people import Model
from benchmarks.engine.predicted import LAUNCHED, LEFT, REPLAYED, floor, launches, streams
from benchmarks.engine.untrained import SIZES, untrained
from benchmarks.measure import Result
from benchmarks.worker import Worker
from speech.hub.load import load
from speech.kernels.backend import unfused
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import Engine
from speech.streaming.engine.host import Regular
from speech.streaming.engine.load import timed
from speech.streaming.lane import Call
from speech.tts.synthesiser import Synthesiser

ROWS = (1, 16, 64, 256, 512)
REPEATS, WARM = 30, 3
LOOK_AHEAD = 80  # milliseconds: chunks of 160 ms
LIMIT = 0.1  # seconds of p99
NEAR = 1.06  # the largest number is known when the next one that is known to be too many is so close
PERIOD = {"tts": 0.02}  # seconds of a push; of others, that of a chunk, as servers are measured
SLOTS = 4096
OPEN_TO_ALL = EngineConfig(most_load=float("inf"))


def limits(
    models: list[str], device: torch.device, seconds: float, *, smoke: bool, nemo: Worker | None = None
) -> Iterator[Result]:
    """Measure each model: steps first, beside those of `nemo`, then numbers of streams, each for so many seconds."""
    rows, slots = ((1, 2), 4) if smoke else (ROWS, SLOTS)
    for name in models:
        model: Model = untrained(name, device, LOOK_AHEAD) if name in SIZES else load(name, device)
        theirs = encoder_steps(nemo, name, LOOK_AHEAD, device, rows, WARM, REPEATS) if nemo and name in SIZES else ()
        for result in (*steps(name, model, rows), *theirs, *capacity(name, model, slots, seconds)):
            print(f"{result.case}: {result.metric} {result.value:.4g} {result.unit}", file=sys.stderr, flush=True)
            yield result


@dataclass(frozen=True)
class Way:
    """A way to run a step: replayed from a graph or not, with our kernels or PyTorch's operations in their place.

    each: seconds that one of those operations is predicted to take, beside the floor.
    """

    graph: bool
    kernels: bool
    each: float


WAYS = {
    "eager": Way(graph=False, kernels=False, each=LAUNCHED),
    "graph": Way(graph=True, kernels=False, each=REPLAYED),
    "fused": Way(graph=True, kernels=True, each=LEFT * REPLAYED),
}


def steps(name: str, model: Model, rows: tuple[int, ...]) -> Iterator[Result]:
    """Every regular step of a model in each of these sizes and ways, straight on its lane."""
    for step in model.host(max(rows)).regular:
        seats = [step.lane.open() for _ in range(max(rows))]
        noise = 0.1 * torch.randn(step.count, *step.shape)
        data = noise.to(step.dtype) if step.dtype.is_floating_point else torch.zeros_like(noise, dtype=step.dtype)
        for size in rows:
            calls = [Call(seat, data, max(step.phase, 0), phase=step.phase) for seat in seats[:size]]
            count, least = launches(partial(step.lane.run, calls, size)), floor(name, step, size)
            for label, way in WAYS.items():
                case = f"{name} {step.name or 'step'}, {size} rows: {label}"
                times = _times(step, calls, way)
                if times:
                    yield Result(case, "predicted", 1e3 * (count * way.each + least), "ms")
                    yield Result(case, "floor", 1e3 * least, "ms")
                    yield Result(case, "step", 1e3 * median(times), "ms", REPEATS)
        step.lane.graphs.clear()


def _times(step: Regular, calls: list[Call], way: Way) -> list[float]:
    """Seconds of the step, run in this way; none where it cannot be captured, which is said in a line."""
    lane, size = step.lane, len(calls)
    with nullcontext() if way.kernels else unfused():
        if way.graph:
            if not lane.captures:
                return []
            try:
                lane.capture(size, step.count, step.phase, step.shape, step.dtype)
            except (RuntimeError, torch.AcceleratorError) as error:
                print(f"{step.name} cannot be captured: {error}", file=sys.stderr)
                return []
        return [timed(lane, calls, size) for _ in range(WARM + REPEATS)][WARM:]


def capacity(name: str, model: Model, slots: int, seconds: float) -> Iterator[Result]:
    """The largest number of real-time streams, and what they get."""
    with Engine(model, slots, OPEN_TO_ALL) as engine:
        period = PERIOD.get(name, engine.host.seconds)

        def tried(count: int) -> Measured:
            found = measure(engine, model, count, seconds, period)
            while engine.stats().sessions:  # the last ones are leaving
                pass
            print(f"{name}: {count} streams, p99 {1e3 * found.p99:.1f} ms", file=sys.stderr, flush=True)
            return found

        most, found = largest(tried, fine_for(model), slots)
        yield Result(f"{name}: streams at most", "value", most, "")
        yield Result(f"{name}: streams at most", "predicted value", streams(engine.host.regular, period), "")
        if found is not None:
            for result in results("at most", found, 1):
                yield replace(result, case=f"{name}: {most} streams{result.case.removeprefix('at most')}")


def fine_for(model: Model) -> Callable[[Measured], bool]:
    """Whether what was measured is real time: results within `LIMIT`, or no gap for those who listen."""
    if isinstance(model, Synthesiser):
        return lambda found: not found.gaps and None not in found.waited
    return lambda found: found.p99 < LIMIT and not found.refused and found.stats.latency.count > 0


def largest(
    tried: Callable[[int], Measured], fine: Callable[[Measured], bool], most: int
) -> tuple[int, Measured | None]:
    """The largest number that is fine, of at most so many, and what was measured there; 0 where not even one is."""
    good, best, bad = 0, None, most + 1
    count = min(16, most)
    while count > good and bad > max(good + 1, NEAR * good):
        found = tried(count)
        if fine(found):
            good, best = count, found
        else:
            bad = count
        count = min(2 * good, most) if bad > most else (good + bad) // 2
    return good, best
