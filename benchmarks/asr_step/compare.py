"""`asr-step`: the time of one chunk, in this project, in NeMo and in ONNX Runtime, on the same weights.

A step is one call that takes the log-mel frames of a chunk of every stream and gives its encoder frames, all caches
carried: `Encoder.step` here, `cache_aware_stream_step` in NeMo. `samples to tokens` is this project's whole step, with
log-mel and greedy transducer search, on random weights. `reading the weights` sums as many numbers as the encoder has,
the least that any float32 step on one stream can take. Speeds are reported only when the outputs agree.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.asr_step.signal import CHUNKS
from benchmarks.asr_step.venv import FOLDER, NEMO, nemo_python
from benchmarks.measure import Result, Samples
from benchmarks.worker import Worker
from speech.asr.encoder import EncoderConfig
from speech.errors import SpeechError

FRAME = 80  # milliseconds
TOLERANCE = 1e-3  # of outputs that a layer norm has brought to about 1
TURN = 5  # steps of one program before the next has its turn
TINY: dict[str, Any] = {"dim": 32, "layers": 2, "heads": 4, "subsampling_channels": 8}
OURS = {"encoder": "speech", "pipeline": "speech, samples to tokens", "floor": "reading the weights"}
THEIRS = {"torch": f"NeMo {NEMO}", "onnx": "ONNX Runtime"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--look-ahead", type=int, nargs="+", default=[80, 480], help="milliseconds")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="streams in one step")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=40, help="steps measured of each program")
    parser.add_argument(
        "--with-nemo",
        type=Path,
        nargs="?",
        const=FOLDER,
        metavar="FOLDER",
        help=f"compare with NeMo, in its own environment in FOLDER (default: {FOLDER}), made where it is not there",
    )


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Measure every combination; the programs take turns. Raises SpeechError where outputs differ."""
    if options.smoke:
        options.look_ahead, options.batch, options.threads, options.repeats = [80], [2], [1], TURN
    changes = TINY if options.smoke else {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        speech = stack.enter_context(Worker(sys.executable, "benchmarks.asr_step.speech_worker"))
        programs = [(speech, what, name) for what, name in OURS.items()]
        weights = None
        if options.with_nemo:
            nemo = stack.enter_context(Worker(nemo_python(options.with_nemo), "benchmarks.asr_step.nemo_worker"))
            weights = str(folder / "weights.pt")
            nemo.call("load", config=asdict(EncoderConfig(**changes)), weights=weights)
            programs += [(nemo, what, name) for what, name in THEIRS.items()]
        speech.call("load", changes=changes, weights=weights)
        for ahead in options.look_ahead:
            for batch in options.batch:
                for threads in options.threads:
                    place = {"batch": batch, "ahead": ahead // FRAME, "threads": threads}
                    yield from compare(programs, place, options.repeats, folder / "outputs.pt")


def compare(
    programs: list[tuple[Worker, str, str]], place: dict[str, int], repeats: int, outputs: Path
) -> Iterator[Result]:
    """One look-ahead, batch size and number of threads. programs: worker, what it runs, and the name to show."""
    speech = programs[0][0]
    for worker in dict.fromkeys(worker for worker, _, _ in programs):
        worker.call("prepare", **place)
    for worker, what, name in programs:
        if worker is not speech:
            check(speech, worker, what, name, place, outputs)
    samples = {name: Samples() for _, _, name in programs}
    for turn in range(1 + -(-repeats // TURN)):
        for worker, what, name in programs:
            taken = Samples(**worker.call("time", what=what, steps=TURN))
            if turn:  # the first warms up
                samples[name].extend(taken)
    case = f"{place['ahead'] * FRAME} ms, batch {place['batch']}"
    ours = samples[OURS["encoder"]]
    for name, taken in samples.items():
        yield from taken.results(f"{case}: {name}", place["threads"])
        if name in THEIRS.values():
            yield from taken.ratios(ours, f"{case}: {name}", place["threads"])
    rate = speech.call("tokens_per_frame")
    yield Result(f"{case}: {OURS['pipeline']}", "tokens", rate, "a frame", repeats, place["threads"])


def check(speech: Worker, worker: Worker, what: str, name: str, place: dict[str, int], outputs: Path) -> None:
    """Compare the first outputs of two programs on fresh streams. Raises SpeechError where they differ."""
    speech.call("prepare", **place)
    worker.call("outputs", what=what, steps=CHUNKS, path=str(outputs))
    difference = speech.call("difference", outputs=str(outputs))
    if not difference < TOLERANCE:
        raise SpeechError(
            f"expected the outputs of {name} within {TOLERANCE} of this project's, got {difference:.2g} at {place}: "
            "speeds of different functions are not compared"
        )
    print(f"{name} at {place}: outputs agree to {difference:.1g}", file=sys.stderr)
