"""What benchmarks' options have to be."""

from __future__ import annotations

import argparse

from speech.errors import SpeechError


def above_zero(options: argparse.Namespace, *names: str) -> None:
    """Raises SpeechError for options of these names that were given and are not above 0."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise SpeechError(f"expected --{name} above 0, got {value:g}: choose another")
