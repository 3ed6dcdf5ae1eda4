"""What the delay of a live conversion is made of, and how long computing may take."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

STEP = 0.005  # seconds: parts of the delay that are measured are rounded up to multiples of it
PROBES, MARGIN = 12, 1.5  # chunks that are converted to measure the budget, the first two not counted


class Latency(Protocol):
    """What a stream of the converter waits for, in seconds."""

    @property
    def resampling_in(self) -> float: ...
    @property
    def chunk(self) -> float: ...
    @property
    def look_ahead(self) -> float: ...
    @property
    def vocoder(self) -> float: ...
    @property
    def resampling_out(self) -> float: ...
    @property
    def total(self) -> float: ...


class Stream(Protocol):
    """A voice under conversion: `speech.vc.session.ConversionStream`."""

    muted_chunks: int

    @property
    def chunk(self) -> int:
        """Input samples that it takes at a time."""
        ...

    @property
    def latency(self) -> Latency: ...

    @property
    def target(self) -> str: ...
    @target.setter
    def target(self, name: str) -> None: ...

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Take samples [n]; returns the outputs that are ready. The first are `latency.total` seconds of silence."""
        ...


@dataclass(frozen=True)
class Delay:
    """From a sample's capture to its play-out, in seconds by part."""

    device_in: float
    resampling_in: float
    chunk: float
    look_ahead: float
    vocoder: float
    resampling_out: float
    compute: float
    device_out: float

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by the name of the part, in the order in which sound passes them."""
        return {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)}

    @property
    def total(self) -> float:
        """Seconds."""
        return sum(self.parts.values())


def compute_budget(stream: Stream) -> float:
    """Seconds to allow for computing a chunk of `stream`, measured on noise: the 99th percentile times 1.5."""
    noise = np.random.default_rng(0)
    taken = []
    for _ in range(PROBES):
        samples = noise.normal(0, 0.1, stream.chunk).astype(np.float32)
        begin = time.perf_counter()
        stream.feed(samples)
        taken.append(time.perf_counter() - begin)
    return max(2 * STEP, rounded_up(MARGIN * float(np.percentile(taken[2:], 99))))


def rounded_up(seconds: float) -> float:
    """The next multiple of 5 ms, but not 0."""
    return STEP * max(1, math.ceil(seconds / STEP - 1e-9))
