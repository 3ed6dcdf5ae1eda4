"""How long `speech --help` takes, beside an interpreter that does nothing."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.ledger import ROOT
from benchmarks.measure import Result, Samples

COMMANDS = {"python -c pass": ["-c", "pass"], "speech --help": ["-m", "speech.cli", "--help"]}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--repeats", type=int, default=20, help="how often each command is run")


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Start each command in turn, as many times as asked. Processor time is the child's and so not reported."""
    samples = {case: Samples() for case in COMMANDS}
    for _ in range(2 if options.smoke else options.repeats):
        for case, words in COMMANDS.items():
            samples[case].time(
                lambda words=words: subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
            )
    for case, taken in samples.items():
        yield from (result for result in taken.results(case) if result.metric != "cpu min")
