"""The delay of `speech convert --live`, from the sound that enters the microphone to the sound that leaves the speaker.

Both meet in one sink of a virtual sound card, so one recording of it holds every chirp that was played and, the delay
later and softer, its echo from the program: no two clocks need to agree. The program runs as users start it, in its
pass-through mode, where the dry voice takes the converted one's place at the same time; chunks are computed as usual.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from benchmarks.ledger import ROOT
from benchmarks.measure import Result
from benchmarks.virtual_card import RATE, Card, virtual_card
from speech.errors import SpeechError

SPACING = 2.0  # seconds between chirps; longer than any delay
CHIRP_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """What was stated before, what the program said of itself at the end, and the delays that were heard.

    stated: seconds. status: the last line of `--json`. delays: seconds, one a chirp whose echo was heard. played: how
    many chirps.
    """

    stated: float
    status: dict[str, Any]
    delays: np.ndarray
    played: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to listen")
    parser.add_argument("--model", default="vc", help="a converter, as `speech convert --model` takes it")
    parser.add_argument("--to", default=None, help="a voice, as `speech convert --to` takes it (default: the model's)")
    parser.add_argument("--budget", type=float, default=None, help="milliseconds for a chunk (default: measured)")
    parser.add_argument("--buffer", type=float, default=None, help="milliseconds that each device may hold back")


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Listen to a chirp every two seconds."""
    seconds = 10.0 if options.smoke else 60 * options.minutes
    words = ["--model", options.model, "--to", options.to or default_target(options.model)]
    for name in ("budget", "buffer"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", str(value)]
    with virtual_card() as card:
        found = measure(words, seconds, card)
    case, n, ms = f"{seconds / 60:.3g} minutes", len(found.delays), 1e3
    yield Result(case, "stated", ms * found.stated, "ms")
    if n:
        yield Result(case, "heard, median", ms * float(np.median(found.delays)), "ms", n)
        yield Result(case, "heard, furthest off", ms * float(np.abs(found.delays - found.stated).max()), "ms", n)
    yield Result(case, "chirps lost", found.played - n, "", found.played)
    yield Result(case, "said, median", found.status["delay_median_ms"], "ms")
    yield Result(case, "said, 99 %", found.status["delay_p99_ms"], "ms")
    yield Result(case, "chunks dropped", found.status["dropped"], "")
    yield Result(case, "missing", found.status["missing_ms"], "ms")


def default_target(model: str) -> str:
    """The first voice of a converter. Raises SpeechError where it has none."""
    from speech.hub.load import load_converter

    targets = load_converter(model, "cpu").targets
    if not targets:
        raise SpeechError(f"expected a voice in the converter {model!r}, it has none: pass --to RECORDING")
    return targets[0]


def measure(words: Sequence[str], seconds: float, card: Card) -> Measured:
    """Run `speech convert --live` with the options `words` on a virtual card for so many seconds of chirps.

    Raises SpeechError where the program does not start.
    """
    played = int(seconds / SPACING)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        chirps, recording = Path(folder) / "chirps.wav", Path(folder) / "heard.raw"
        soundfile.write(chirps, np.tile(np.pad(chirp(), (0, round(SPACING * RATE) - len(chirp()))), played), RATE)
        options = ["--live", "--dry", "--json", "--gate", "0", *words]
        command = card.command(sys.executable, "-m", "speech.cli", "convert", *options)
        notes = running.enter_context((Path(folder) / "notes").open("w+"))
        program = running.enter_context(
            subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=notes, text=True
            )
        )
        running.callback(program.terminate)
        stated = _line(program, notes, "delay")["total_ms"] / 1e3
        _line(program, notes, "status")
        heard = running.enter_context(recording.open("wb"))
        form = [f"--device={card.loop}.monitor", f"--rate={RATE}", "--channels=1", "--format=float32le", "--raw"]
        recorder = running.enter_context(subprocess.Popen(card.command("parec", *form), stdout=heard))
        running.callback(recorder.terminate)
        time.sleep(1.0)
        subprocess.run(card.command("paplay", f"--device={card.loop}", str(chirps)), check=True)
        recorder.terminate()
        program.terminate()
        assert program.stdout
        status = json.loads(program.stdout.readlines()[-1])
        recorder.wait()
        return Measured(stated, status, echoes(np.fromfile(recording, "<f4")), played)


def chirp() -> np.ndarray:
    """50 ms from 300 to 4300 Hz, faded at both ends, [n] at `RATE`."""
    t = np.arange(round(CHIRP_SECONDS * RATE)) / RATE
    sweep = np.sin(2 * np.pi * (300 + 2000 * t / CHIRP_SECONDS) * t)
    return (0.5 * np.hanning(len(t)) * sweep).astype(np.float32)


def echoes(heard: np.ndarray) -> np.ndarray:
    """How long after each chirp in `heard` [n] its first echo follows, in seconds; chirps without one are left out."""
    pattern, size = chirp(), 1 << (len(heard) + len(chirp())).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.fft.rfft(pattern, size).conj()
    likeness = np.abs(np.fft.irfft(spectrum, size)[: len(heard)]) / float(pattern @ pattern)
    found, at = [], 0
    while len(loud := np.flatnonzero(likeness[at:] > 0.7)):
        begin = at + int(loud[0])
        begin += int(likeness[begin : begin + len(pattern)].argmax())
        after = likeness[begin + len(pattern) : begin + round(0.95 * SPACING * RATE)]
        if len(after) and 0.1 < after.max() < 0.5:
            found.append((len(pattern) + int(after.argmax())) / RATE)
        at = begin + round(0.95 * SPACING * RATE)
    return np.array(found)


def _line(program: subprocess.Popen[str], notes: IO[str], kind: str) -> dict[str, Any]:
    """The next line of this type. Raises SpeechError if the program ends before."""
    assert program.stdout
    for line in program.stdout:
        record = json.loads(line)
        if record["type"] == kind:
            return record
    notes.seek(0)
    raise SpeechError(f"expected `speech convert --live` to run, but it ended: {' '.join(notes.read().split())}")
