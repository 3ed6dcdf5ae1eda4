"""Time of every kernel and of its reference on a card, against the least time that the card needs for the work.

Both run as CUDA graphs, as a captured step runs them, and find nothing in the cache: a whole model is read between two
runs of one kernel. What a kernel returns is compared with the reference before it is timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from statistics import median

import torch

from benchmarks.kernels.case import Call, Case
from benchmarks.kernels.registry import OPS, cases
from benchmarks.ledger import ROOT
from benchmarks.measure import Result
from benchmarks.options import above_zero
from speech.errors import SpeechError

LIMITS = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
"""How far a kernel may be from its reference in one dtype: root mean square of the difference to that of the values."""

WAIT, REACHED = 2.0, 0.6
"""Microseconds of a launch in a graph, or of a step that waits for another, and the share of the card's bandwidth, or
arithmetic, that a small kernel reaches."""

CACHE = 256 << 20  # bytes; more than the last-level cache of any card


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options. The defaults of the ceilings are what one H200 was measured to reach."""
    parser.add_argument("--op", action="append", choices=OPS, help="measure this one only; may be given again")
    parser.add_argument("--repeats", type=int, default=100, help="runs, of which the median counts")
    parser.add_argument("--bandwidth", type=float, default=4.3, help="TB/s that the card can move (default: 4.3)")
    parser.add_argument("--compute", type=float, default=790.0, help="TFLOP/s that it can compute (default: 790)")


def run(options: argparse.Namespace) -> Iterator[Result]:
    """On a card all cases, or with `--smoke` the first of each op; without one `--smoke` interprets those.

    Raises SpeechError where a kernel and its reference differ, and for numbers that are not above 0.
    """
    above_zero(options, "repeats", "bandwidth", "compute")
    ops, repeats = options.op or OPS, 5 if options.smoke else options.repeats
    if not torch.cuda.is_available():
        if options.smoke:
            yield from _interpreted(ops)
        else:
            print("speech: there is no CUDA card here, so there is nothing to measure", file=sys.stderr)
        return
    for op in ops:
        for case in islice(cases(op), 1 if options.smoke else None):
            yield from _measured(case, repeats, floor(case, options.bandwidth, options.compute))


def predicted(case: Case, least: float) -> float:
    """Microseconds that a kernel is expected to take, written down before any was measured on a card."""
    return case.waits * WAIT + least / REACHED


def floor(case: Case, bandwidth: float, compute: float) -> float:
    """Microseconds that a case takes at least on a card of so many TB/s and TFLOP/s."""
    return 1e6 * max(case.bytes / (bandwidth * 1e12), case.flops / (compute * 1e12))


@torch.inference_mode()
def difference(case: Case, kernel: Call, reference: Call, dtype: torch.dtype) -> float:
    """Run both once: root mean square of their difference, relative to that of the values, the worst of all results.

    Raises SpeechError where it is above the limit of `dtype`, or integers are not the same.
    """
    worst = 0.0
    for mine, other in zip(_tensors(kernel()), _tensors(reference()), strict=True):
        scale = float(other.double().square().mean().sqrt())
        off = float((mine.double() - other.double()).square().mean().sqrt())
        exact = not other.is_floating_point()
        off = off if exact else off / max(scale, torch.finfo(torch.float32).tiny)
        limit = 0.0 if exact else LIMITS[dtype]
        if not off <= limit:  # not a number is wrong, too
            raise SpeechError(
                f"expected the kernel of {case.name!r} within {limit:g} of its reference, it is {off:.3g} off: "
                "do not trust its time, run the tests of tests/kernels here"
            )
        worst = max(worst, off)
    return worst


def _tensors(found: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (found,) if isinstance(found, torch.Tensor) else found


@torch.inference_mode()
def _measured(case: Case, repeats: int, least: float) -> Iterator[Result]:
    kernel, reference = case.make(torch.device("cuda"), case.dtype)
    off = difference(case, kernel, reference, case.dtype)
    took = {name: _micros(call, repeats) for name, call in (("kernel", kernel), ("reference", reference))}
    for name, micros in took.items():
        yield Result(case.name, name, micros, "us", repeats)
    yield Result(case.name, "reference / kernel", took["reference"] / took["kernel"], "x", repeats)
    yield Result(case.name, "moved", case.bytes / 1e6, "MB")
    yield Result(case.name, "predicted", predicted(case, least), "us")
    yield Result(case.name, "floor", least, "us")
    yield Result(case.name, "of floor", 100 * least / took["kernel"], "%", repeats)
    yield Result(case.name, "difference", off, "")


def _micros(call: Call, repeats: int) -> float:
    """Median time on the card of one call in a graph, its data not in the cache."""
    replay, cache = _captured(call), torch.empty(CACHE, dtype=torch.int8, device="cuda")
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for begin, end in events:
        cache.zero_()
        begin.record()
        replay()
        end.record()
    torch.cuda.synchronize()
    return median(begin.elapsed_time(end) for begin, end in events) * 1e3


def _captured(call: Call) -> Callable[[], None]:
    """The call as a graph. It runs a few times before, off the main stream: compiling and libraries' first calls."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def _interpreted(ops: Sequence[str]) -> Iterator[Result]:
    """The first case of each op once on the CPU, in float32, by Triton's interpreter, compared and not timed.

    Triton must know before it is imported that it is to interpret, so this may take a process of its own.
    """
    from speech.kernels.backend import interpreted, triton

    if triton is None:
        raise SpeechError("expected Triton, which interprets kernels where no card is: pip install triton")
    from triton import knobs

    if not knobs.runtime.interpret:
        yield from elsewhere(ops)
        return
    with interpreted():
        for op in ops:
            case = next(cases(op))
            calls = case.make(torch.device("cpu"), torch.float32)
            yield Result(case.name, "difference", difference(case, *calls, torch.float32), "")


def elsewhere(ops: Sequence[str]) -> Iterator[Result]:
    """`--smoke` of these ops in a process in which Triton interprets. Raises SpeechError where that fails."""
    chosen = [word for op in ops for word in ("--op", op)]
    words = [sys.executable, "-m", "benchmarks.run", "kernels", "--smoke", "--json", *chosen]
    done = subprocess.run(["env", "TRITON_INTERPRET=1", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise SpeechError(f"expected interpreted kernels to run, but they ended: {last.removeprefix('speech: ')}")
    for line in done.stdout.splitlines():
        row = json.loads(line)
        yield Result(*(row[name] for name in Result.__dataclass_fields__))
