"""The limits of a card: steps by their number of rows, eager and from graphs, and how many streams are real-time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median

import torch

from benchmarks.engine.live import Measured, measure, results
from benchmarks.engine.nemo import encoder_steps
from benchmarks.engine.people import Model
from benchmarks.engine.predicted import EAGER, REPLAYED, WORK, streams
from benchmarks.engine.untrained import SIZES, untrained
from benchmarks.measure import Result
from benchmarks.worker import Worker
from speech.hub.load import load
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


def steps(name: str, model: Model, rows: tuple[int, ...]) -> Iterator[Result]:
    """Every regular step of a model in each of these sizes, straight on its lane."""
    for step in model.host(max(rows)).regular:
        seats = [step.lane.open() for _ in range(max(rows))]
        noise = 0.1 * torch.randn(step.count, *step.shape)
        data = noise.to(step.dtype) if step.dtype.is_floating_point else torch.zeros_like(noise, dtype=step.dtype)
        for size in rows:
            calls = [Call(seat, data, max(step.phase, 0), phase=step.phase) for seat in seats[:size]]
            for way, predicted in _ways(step, size):
                case = f"{name} {step.name or 'step'}, {size} rows: {way}"
                times = [timed(step.lane, calls, size) for _ in range(WARM + REPEATS)][WARM:]
                yield Result(case, "step", 1e3 * median(times), "ms", REPEATS)
                if name in WORK and step.name == "encoder":
                    yield Result(case, "predicted", 1e3 * predicted, "ms")
                    yield Result(case, "floor", 1e3 * WORK[name].floor(size), "ms")
        step.lane.graphs.clear()


def _ways(step: Regular, size: int) -> Iterator[tuple[str, float]]:
    """Ways to run a step, and what is predicted of a recogniser's encoder; a graph is there from its turn on."""
    yield "eager", EAGER
    if step.lane.captures:
        try:
            step.lane.capture(size, step.count, step.phase, step.shape, step.dtype)
        except (RuntimeError, torch.AcceleratorError) as error:
            print(f"{step.name} cannot be captured: {error}", file=sys.stderr)
        else:
            yield "graph", REPLAYED


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
