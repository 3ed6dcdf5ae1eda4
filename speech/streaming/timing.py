"""When outputs come: the best phase of a stream, and its look-ahead and latency in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

from speech.errors import SpeechError
from speech.streaming.module import Streaming


def start_of(module: Streaming, output: int) -> int:
    """The smallest input index at which a chunk may start so that its first output is `output` or later."""
    low = high = output * module.down // module.up
    step = 1
    while module.first(high) < output:
        high, step = high + step, 2 * step
    step = 1
    while module.first(low) >= output:
        low, step = low - step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if module.first(middle) >= output else (middle, high)
    return high


def last_needed(module: Streaming, output: int) -> int:
    """The last input index that `output` may depend on: a chunk that starts after it begins with later outputs."""
    return start_of(module, output + 1) - 1


def phase_for(module: Streaming) -> int:
    """The input index, at most 0, at which streams begin so that every output comes as early as possible.

    Output `first(phase)` is complete with the frame `phase + chunk - 1`; the phase with the least
    `phase - first(phase) * down / up` waits least, and of those the one nearest 0 is taken. It lies at -1080 samples
    for an 8x front end on log-mel frames of 160 samples: the first output then comes with 200 samples of a stream.
    """
    candidates, output = [], module.first(0)
    while not candidates or candidates[-1] > -module.grain:
        candidates.append(start_of(module, output))
        output = module.first(candidates[-1] - 1)
    return min(candidates, key=lambda p: p * module.up - module.first(p) * module.down)


@dataclass(frozen=True)
class Timing:
    """What a module that runs at one chunk size promises, in real time.

    rate: input frames a second (Hz). chunk: input frames a step. phase: the input index at which streams begin.
    first: index of the first output of the first step. up, down: the module's rate. ahead: the most input frames that
    an output needs after its own time j * down / up; where attention sees whole chunks, waiting for that is included.
    """

    rate: float
    chunk: int
    phase: int
    first: int
    up: int
    down: int
    ahead: float

    @classmethod
    def of(cls, module: Streaming, rate: float, chunk: int | None = None, phase: int | None = None) -> Timing:
        """The timing of `module` at `rate` input frames a second; default: the smallest chunk and the best phase."""
        chunk = module.grain if chunk is None else chunk
        phase = phase_for(module) if phase is None else phase
        check(module, chunk, phase)
        period = module.grain * module.up // module.down  # outputs after which the pattern of waits repeats
        ahead = max(last_needed(module, j) - j * module.down / module.up for j in range(period))
        return cls(rate, chunk, phase, module.first(phase), module.up, module.down, ahead)

    @property
    def hop(self) -> float:
        """Seconds from one output frame to the next: down / up / rate."""
        return self.down / self.up / self.rate

    @property
    def chunk_ms(self) -> float:
        """Milliseconds of input a step brings: chunk / rate."""
        return 1e3 * self.chunk / self.rate

    @property
    def look_ahead_ms(self) -> float:
        """The most future input, in milliseconds, that an output frame needs beyond its own time, at any chunk size."""
        return 1e3 * self.ahead / self.rate

    @property
    def latency_ms(self) -> float:
        """Algorithmic latency: from an output frame's own time to the end of the chunk that completes it, at the most.

        The first output of a step waits longest: (phase + chunk - first * down / up) / rate. Computing is not counted.
        """
        return 1e3 * (self.phase + self.chunk - self.first * self.down / self.up) / self.rate


def check(module: Streaming, chunk: int, phase: int) -> None:
    """Raise `SpeechError` unless streams through `module` may begin at `phase` and go on by `chunk` frames."""
    if chunk < 1 or chunk % module.grain:
        raise SpeechError(f"expected a chunk of a multiple of {module.grain} frames, got {chunk}: round it up")
    if phase > 0:
        raise SpeechError(f"expected a phase of at most 0, got {phase}: the stream's first frames would be lost")
