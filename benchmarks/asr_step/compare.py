"""`asr-step`: the time of one chunk, in this project, in NeMo, ONNX Runtime and sherpa-onnx, on the same weights.

A step is one call that takes the log-mel frames of a chunk of every stream and gives its encoder frames, all caches
carried: `Encoder.step` here, `cache_aware_stream_step` in NeMo, NeMo's export in ONNX Runtime. Their speeds are
reported only when the outputs agree.

`samples to tokens` is the whole step, with log-mel and greedy transducer search, of this project and of sherpa-onnx.
Both hear the same speech. Since random heads do not speak, the joint network is made to (`heads.speak`), the same for
both: about 0.3 tokens a frame. sherpa-onnx cuts its chunks elsewhere, so its tokens are not quite the same.

`reading the weights` sums as many numbers as the encoder has, the least that a float32 step on one stream can take.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.asr_step.signal import CHUNKS
from benchmarks.asr_step.venv import NEMO, SHERPA, add_nemo_option, nemo_python
from benchmarks.measure import Result, Samples
from benchmarks.worker import Worker
from speech.asr.encoder import EncoderConfig
from speech.asr.model import FastConformerConfig
from speech.errors import SpeechError

FRAME = 80  # milliseconds
TOLERANCE = 1e-3  # of outputs that a layer norm has brought to about 1
TURN = 5  # steps of one program before the next has its turn
TINY: dict[str, Any] = {"dim": 32, "layers": 2, "heads": 4, "subsampling_channels": 8}
ENCODER, PIPELINE = "speech", "speech, samples to tokens"


@dataclass(frozen=True)
class Program:
    """What a worker runs, by the name that is shown.

    base: the program of this project that its time is divided by. same: whether its outputs must be ours. tokens:
    whether it gives tokens.
    """

    worker: Worker
    what: str
    name: str
    base: str | None = None
    same: bool = False
    tokens: bool = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--look-ahead", type=int, nargs="+", default=[80, 480], help="milliseconds")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="streams in one step")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=40, help="steps measured of each program")
    add_nemo_option(parser)


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Measure every combination; the programs take turns. Raises SpeechError where outputs differ."""
    if options.smoke:
        options.look_ahead, options.batch, options.threads, options.repeats = [80], [2], [1], TURN
    changes = TINY if options.smoke else {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        programs = list(start(stack, folder, changes, options.with_nemo))
        for ahead in options.look_ahead:
            frames = ahead // FRAME
            joint = str(folder / "joint.pt")
            programs[0].worker.call("speak", ahead=frames, path=joint)
            if options.with_nemo:
                programs[-1].worker.call("export", ahead=frames, joint=joint)
            for batch in options.batch:
                for threads in options.threads:
                    place = {"batch": batch, "ahead": frames, "threads": threads}
                    yield from compare(programs, place, options.repeats, folder / "outputs.pt")


def start(stack: ExitStack, folder: Path, changes: dict[str, Any], venv: Path | None) -> Iterator[Program]:
    """Load the model into the workers; NeMo and sherpa-onnx run where there is an environment `venv` for them."""
    weights = str(folder / "weights.pt") if venv else None
    if venv:
        python = nemo_python(venv)
        nemo = stack.enter_context(Worker(python, "benchmarks.asr_step.nemo_worker"))
        config = FastConformerConfig(encoder=EncoderConfig(**changes))
        nemo.call("load", config=asdict(config), weights=weights, folder=str(folder))
    speech = stack.enter_context(Worker(sys.executable, "benchmarks.asr_step.speech_worker"))
    speech.call("load", changes=changes, weights=weights)
    yield Program(speech, "encoder", ENCODER)
    yield Program(speech, "pipeline", PIPELINE, tokens=True)
    yield Program(speech, "floor", "reading the weights")
    if venv:
        sherpa = stack.enter_context(Worker(python, "benchmarks.asr_step.sherpa_worker"))
        sherpa.call("load", folder=str(folder))
        yield Program(sherpa, "pipeline", f"sherpa-onnx {SHERPA}, samples to tokens", PIPELINE, tokens=True)
        yield Program(nemo, "torch", f"NeMo {NEMO}", ENCODER, same=True)
        yield Program(nemo, "onnx", "ONNX Runtime", ENCODER, same=True)


def compare(programs: list[Program], place: dict[str, int], repeats: int, outputs: Path) -> Iterator[Result]:
    """One look-ahead, batch size and number of threads."""
    speech, threads = programs[0].worker, place["threads"]
    for worker in dict.fromkeys(program.worker for program in programs):
        worker.call("prepare", **place)
    for program in programs:
        if program.same:
            check(speech, program, place, outputs)
    samples = {program.name: Samples() for program in programs}
    for turn in range(1 + -(-repeats // TURN)):
        for program in programs:
            taken = Samples(**program.worker.call("time", what=program.what, steps=TURN))
            if turn:  # the first warms up
                samples[program.name].extend(taken)
    for program in programs:
        case, taken = f"{place['ahead'] * FRAME} ms, batch {place['batch']}: {program.name}", samples[program.name]
        yield from taken.results(case, threads)
        if program.base:
            yield from taken.ratios(samples[program.base], case, threads)
        if program.tokens:
            yield Result(case, "tokens", program.worker.call("tokens_per_frame"), "a frame", repeats, threads)


def check(speech: Worker, program: Program, place: dict[str, int], outputs: Path) -> None:
    """Compare the first outputs of two programs on fresh streams. Raises SpeechError where they differ."""
    speech.call("prepare", **place)
    program.worker.call("outputs", what=program.what, steps=CHUNKS, path=str(outputs))
    difference = speech.call("difference", outputs=str(outputs))
    if not difference < TOLERANCE:
        raise SpeechError(
            f"expected the outputs of {program.name} within {TOLERANCE} of this project's, got {difference:.2g} at "
            f"{place}: speeds of different functions are not compared"
        )
    print(f"{program.name} at {place}: outputs agree to {difference:.1g}", file=sys.stderr)
