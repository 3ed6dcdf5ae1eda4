"""Single keys of a terminal."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Pressed = Callable[[float], str]
"""Waits at most so many seconds for a key; returns it, or an empty string."""


@contextmanager
def keys() -> Iterator[Pressed | None]:
    """Within, keys come as they are pressed, and are not shown. None where standard input is no POSIX terminal.

    Ctrl-C keeps its meaning; the terminal is as before at the end, whatever happens.
    """
    try:
        import termios
        import tty
    except ImportError:
        termios = tty = None
    if termios is None or tty is None or sys.stdin is None or not sys.stdin.isatty():
        yield None
        return
    terminal = sys.stdin.fileno()
    usual = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield lambda seconds: _next(terminal, seconds)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, usual)


def _next(terminal: int, seconds: float) -> str:
    ready, _, _ = select.select([terminal], [], [], max(0.0, seconds))
    key = os.read(terminal, 1).decode("latin-1") if ready else ""
    if ready and not key:  # the terminal was closed
        time.sleep(max(0.0, seconds))
    return key
