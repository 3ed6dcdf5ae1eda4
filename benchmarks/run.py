"""`speech bench NAME`: run a benchmark, print its table, keep its numbers on request."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from benchmarks.ledger import LEDGER, Context, record, rows, table
from benchmarks.measure import Result
from benchmarks.registry import BENCHMARKS, Benchmark
from speech.errors import SpeechError

WIDTH = 120  # characters of a table at least, also where the output is no terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark that the first word names, or list them all where there is none; returns the exit code.

    What was measured before a benchmark broke off, or was broken off, is printed and kept all the same. Raises
    SpeechError for an unknown name and for what a benchmark cannot do here.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0].startswith("-"):
        return _list(as_json="--json" in words)
    name = words.pop(0)
    if name not in BENCHMARKS:
        raise SpeechError(f"expected one of the benchmarks {', '.join(BENCHMARKS)}, got {name!r}: choose one of them")
    benchmark = BENCHMARKS[name]
    module = benchmark.load()
    parser = argparse.ArgumentParser(f"speech bench {name}", description=benchmark.about)
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    parser.add_argument("--record", action="store_true", help=f"append the numbers to {LEDGER.name}")
    parser.add_argument("--smoke", action="store_true", help="measure something tiny, to see that it runs")
    module.add_options(parser)
    options = parser.parse_args(words)

    results: list[Result] = []
    try:
        results.extend(module.run(options))
    finally:
        _tell(benchmark, results, options)
    return 0


def _tell(benchmark: Benchmark, results: list[Result], options: argparse.Namespace) -> None:
    """Print the results, and record them where that was asked for."""
    found = rows(benchmark.name, results, Context.here())
    if options.json:
        for row in found:
            print(json.dumps(row))
    elif results:
        Console(width=max(Console().width, WIDTH)).print(table(benchmark.about, results))
    if options.record:
        record(found)


def _list(*, as_json: bool) -> int:
    for benchmark in BENCHMARKS.values():
        line = {"name": benchmark.name, "about": benchmark.about}
        print(json.dumps(line) if as_json else f"{benchmark.name:12}{benchmark.about}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SpeechError as error:
        sys.exit(f"speech: {error}")
