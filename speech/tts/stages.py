"""Where the time of a stream of speech goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

Stage = Literal["text", "lm", "flow", "vocoder"]


@dataclass
class Stages:
    """Seconds of computing by stage: text front end, language model, flow (a voice's prompt included) and vocoder.

    codes: speech codes so far. alone: whether the stream runs its steps itself. Beside others it waits for them between
    a step's call and the answer, and that is not computing: nothing is counted then.
    """

    text: float = 0.0
    lm: float = 0.0
    flow: float = 0.0
    vocoder: float = 0.0
    codes: int = 0
    alone: bool = True

    @property
    def busy(self) -> float:
        """Seconds of computing in all."""
        return self.text + self.lm + self.flow + self.vocoder

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Count what the block takes."""
        began = perf_counter()
        try:
            yield
        finally:
            if self.alone:
                setattr(self, stage, getattr(self, stage) + perf_counter() - began)
