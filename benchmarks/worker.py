"""A process that measures on request: one call, one answer, a JSON line each.

It needs the standard library only, so that a worker may run in another environment than this project's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def serve(commands: dict[str, Callable[..., Any]]) -> None:
    """Answer the calls on standard input until it ends. What the commands themselves print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            call = json.loads(line)
            try:
                answer = {"result": commands[call["do"]](**call["with"])}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)


class Worker:
    """A process that runs `module`, which calls `serve`, with the interpreter `python`. A context manager."""

    def __init__(self, python: str | Path, module: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `__exit__` closes it
        self._process = subprocess.Popen(
            [str(python), "-m", module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def call(self, do: str, **arguments: Any) -> Any:
        """Run one command and wait for its result. Raises RuntimeError where it failed."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"the worker ended at {do!r}: ...{self._errors.read()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the worker failed at {do!r}: {answer['error']}")
        return answer["result"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has ended by itself, with a call unread
            self._process.stdin.close()
        self._process.wait()
        self._errors.close()
