"""Sound on its way out: what fails there is said, whatever else happens."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Self

import numpy as np
import pytest

from speech.cli.outlet import Outlet, Pipe
from speech.errors import SpeechError


class Full:
    """A file on a disk that is full when it is closed; if `torn`, a speaker, which fails if it plays to the end."""

    sample_rate = 100

    def __init__(self, torn: bool = False) -> None:
        self.torn, self.taken = torn, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not (self.torn and kind):
            raise SpeechError("expected room on the disk")

    def write(self, samples: np.ndarray) -> None:
        """Take samples [n]."""
        self.taken += len(samples)


def leave(outlet: Outlet, error: type[BaseException] | None = None) -> None:
    """Pass sound on, then leave, by an error if there is one."""
    with outlet:
        outlet.write(np.zeros(23, np.float32))
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_file_that_could_not_be_completed_is_said(error: type[BaseException] | None) -> None:
    target = Full()
    with pytest.raises(SpeechError, match="room on the disk"):
        leave(Outlet(target), error)
    assert target.taken == 23


def test_an_interrupt_silences_a_speaker() -> None:
    with pytest.raises(KeyboardInterrupt):
        leave(Outlet(Full(torn=True), live=True), KeyboardInterrupt)


def test_what_failed_first_is_what_is_said() -> None:
    with pytest.raises(KeyError):
        leave(Outlet(Full()), KeyError)


def test_standard_output_on_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, on which every write fails")
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=full))
        with pytest.raises(SpeechError, match="standard output, but No space left on device"):
            Pipe(16000)
