"""What the verbs print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def emit(record: Mapping[str, Any]) -> None:
    """One JSON object as one line on standard output, at once."""
    print(json.dumps(record, ensure_ascii=False), flush=True)


def note(sentence: str) -> None:
    """One line on standard error."""
    print(f"speech: {sentence}", file=sys.stderr, flush=True)


@contextmanager
def noted() -> Iterator[None]:
    """Within, warnings are lines like all others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for warning in caught:
                note(str(warning.message))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns on standard output. rows: as many cells each as the header."""
    lines = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def progress() -> Progress:
    """A bar on standard error, where that is a terminal. Tasks have a field `factor`: the real-time factor in words."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    shown = sys.stderr.isatty()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[factor]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not shown,
        redirect_stdout=shown and sys.stdout.isatty(),  # else what goes to a pipe would be drawn on the terminal
        redirect_stderr=shown,
    )
