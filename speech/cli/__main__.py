"""Where `speech` and `python -m speech.cli` begin. It imports nothing heavy, so that Ctrl-C is quiet from the start."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line on `argv` (default: the process's own arguments); ends in `SystemExit`, 130 after Ctrl-C."""
    try:
        from speech.cli.main import main as run

        run(argv)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
