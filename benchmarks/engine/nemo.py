"""NeMo beside this project on a card: the streaming step of its encoder, in its own environment and process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from subprocess import CalledProcessError

import torch

from benchmarks.asr_step.venv import NEMO, nemo_python
from benchmarks.engine.predicted import BESIDE, WORK
from benchmarks.engine.untrained import SIZES
from benchmarks.measure import Result
from benchmarks.worker import Worker
from speech.errors import SpeechError

SHOWN = 300  # characters of a reason


@contextmanager
def beside(folder: Path | None) -> Iterator[Worker | None]:
    """NeMo's worker, from the environment in `folder`; None without one and, said in a line, where it cannot be had."""
    try:
        python = nemo_python(folder) if folder else None
    except (SpeechError, CalledProcessError, OSError) as error:
        _leave_out(error)
        python = None
    if python is None:
        yield None
        return
    with Worker(python, "benchmarks.asr_step.nemo_worker") as worker:
        yield worker


def encoder_steps(
    worker: Worker, name: str, look_ahead: int, device: torch.device, rows: tuple[int, ...], warm: int, repeats: int
) -> Iterator[Result]:
    """A chunk of log-mel frames of so many streams through NeMo's encoder at one of `SIZES`, as `untrained` has ours.

    look_ahead: milliseconds. warm, repeats: steps that do not count, and those that do. Where the worker fails, that is
    said in a line, and the rest is left out.
    """
    config, dtype = SIZES[name], "bfloat16" if device.type == "cuda" else "float32"
    _, ahead = config.look_aheads[look_ahead]
    try:
        worker.call("load_encoder", config=asdict(config.encoder), device=str(device), dtype=dtype)
        for size in rows:
            worker.call("join", batch=size, ahead=ahead)
            times = worker.call("time", what="torch", steps=warm + repeats)["wall"][warm:]
            case = f"{name} encoder, {size} rows: NeMo {NEMO}"
            yield Result(case, "step", 1e3 * median(times), "ms", repeats)
            if name in WORK:
                yield Result(case, "predicted", 1e3 * BESIDE, "ms")
    except RuntimeError as error:
        _leave_out(error)


def _leave_out(error: Exception) -> None:
    print(f"NeMo is left out: {' '.join(str(error).split())[-SHOWN:]}", file=sys.stderr, flush=True)
