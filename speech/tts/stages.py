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

    codes: speech codes so far.
    """

    text: float = 0.0
    lm: float = 0.0
    flow: float = 0.0
    vocoder: float = 0.0
    codes: int = 0

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
            setattr(self, stage, getattr(self, stage) + perf_counter() - began)
