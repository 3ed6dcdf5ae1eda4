"""What the verbs print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def emit(record: Mapping[str, Any]) -> None:
    """One JSON object as one line on standard output, at once."""
    print(json.dumps(record, ensure_ascii=False), flush=True)


def note(sentence: str) -> None:
    """One line on standard error."""
    print(f"speech: {sentence}", file=sys.stderr, flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns on standard output. rows: as many cells each as the header."""
    lines = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
