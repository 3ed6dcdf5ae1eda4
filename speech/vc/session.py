"""A live conversion: samples in, and a constant delay later samples in another voice out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from speech.audio.limiter import limited
from speech.audio.samples import to_float
from speech.errors import SpeechError
from speech.streaming.closing import Closing
from speech.streaming.driver import Driver
from speech.streaming.lane import Asking, Lane, Seat, alone
from speech.streaming.module import Sequential, State, Streaming
from speech.streaming.timing import phase_for
from speech.vc.timbre import Target


@dataclass(frozen=True)
class Latency:
    """Where the delay of a stream comes from, in seconds; computing is not counted.

    resampling_in, resampling_out, vocoder: what these need of the sound to come. look_ahead: what content encoder and
    network need. chunk: the rest, the sound that is gathered for a step.
    """

    resampling_in: float
    chunk: float
    look_ahead: float
    vocoder: float
    resampling_out: float

    @property
    def total(self) -> float:
        """The delay: output i is input i so much later."""
        return self.resampling_in + self.chunk + self.look_ahead + self.vocoder + self.resampling_out


def delay_of(pipeline: Sequential, chunk: int, phase: int) -> int:
    """Output samples by which a pipeline that runs in chunks of samples is behind, at the most: never more are missing.

    When the inputs up to index phase + (k + 1) * chunk have come, the outputs up to first + (k + 1) * chunk * up / down
    are there; just before, it is those of a chunk less.
    """
    return -((phase + chunk) * -pipeline.up // pipeline.down) - pipeline.first(phase)


def latency_of(pipeline: Sequential, sample_rate: int, chunk: int, phase: int) -> Latency:
    """The delay of a pipeline, of the stages of `ConverterModel.pipeline`, at `sample_rate` input samples a second."""
    up, down, start, behind = 1, 1, phase, Fraction(phase)
    waits: dict[str, Fraction] = {}
    for name, stage in pipeline.named_children():
        assert isinstance(stage, Streaming)
        start, up, down = stage.first(start), up * stage.up, down * stage.down
        waits[name] = max((behind - Fraction(start * down, up)) / sample_rate, Fraction(0))
        behind = Fraction(start * down, up)
    total = Fraction(delay_of(pipeline, chunk, phase) * down, up * sample_rate)
    return Latency(
        float(waits.get("resampling_in", 0)),
        float(total - sum(waits.values())),
        float(waits["content"] + waits["network"]),
        float(waits["vocoder"]),
        float(waits.get("resampling_out", 0)),
    )


@dataclass(frozen=True, eq=False)
class Setup:
    """What streams from one sample rate to another (in Hz) run. pipeline: of `ConverterModel.pipeline`."""

    pipeline: Sequential
    sample_rate: int
    output_rate: int

    @cached_property
    def chunk(self) -> int:
        """Input samples of a step."""
        return self.pipeline.grain

    @cached_property
    def phase(self) -> int:
        """The sample index at which streams begin."""
        return phase_for(self.pipeline)

    @cached_property
    def delay(self) -> int:
        """Output samples by which a stream is late."""
        return delay_of(self.pipeline, self.chunk, self.phase)

    @cached_property
    def latency(self) -> Latency:
        """What the delay is made of."""
        return latency_of(self.pipeline, self.sample_rate, self.chunk, self.phase)

    def lane(self, slots: int = 1) -> Lane:
        """Room for so many streams."""
        return Lane(self.pipeline, slots, answers="cpu")


class ConversionStream(Closing):
    """One live stream: as much comes out of each `push` as went in, `latency.total` seconds late. A context manager.

    What comes out does not depend on how the input is cut. It is mono float32 and never leaves [-1, 1]. One stream is
    for one thread at a time; `target` may be set from any.

    targets: what the network knows of a target, by its name; it raises SpeechError for a name that it does not know.
    target: the first one's. lane: where it steps (default: one of its own). Raises SpeechError for a target that there
    is no room for, `Full` where the lane has no slot.
    """

    def __init__(self, setup: Setup, targets: Callable[[str], Target], target: str, lane: Lane | None = None) -> None:
        self.setup, self.muted_chunks = setup, 0
        self.sample_rate, self.output_rate = setup.sample_rate, setup.output_rate
        self.latency, self.delay = setup.latency, setup.delay
        self._lane, self._targets = lane or setup.lane(), targets
        self._written: Target | None = None
        self.target = target
        self._driver = Driver(
            setup.pipeline, setup.chunk, phase=setup.phase, input_dtype=torch.float32, outputs=(), lane=self._lane
        )
        self._ready = np.zeros(self.delay, np.float32)
        self._received = self._returned = 0
        self._ended = self._closed = False

    @property
    def chunk(self) -> int:
        """Input samples of a step, which is computed when they are complete."""
        return self._driver.chunk

    @property
    def seats(self) -> list[Seat]:
        """Where all that the networks know of the stream lies."""
        return [self._driver.seat]

    @property
    def target(self) -> str:
        """The name of the voice that comes out. Set, it is heard from the next step on, without a break.

        Setting raises SpeechError for a name that the converter does not have, and for one whose reference is longer
        than what the stream has room for.
        """
        return self._chosen[0]

    @target.setter
    def target(self, name: str) -> None:
        target, room = self._targets(name), self._kept["network"]["timbre"]["keys"].shape[3]
        if target.room > room:
            raise SpeechError(
                f"expected a target with at most {room} frames of references, which this stream has room for, "
                f"{name!r} has {target.room}: take it up before, or from shorter recordings"
            )
        self._chosen = name, target

    @property
    def _kept(self) -> State:
        """Where, among all else, the targets of all streams of the lane lie."""
        return self._lane.arena.state

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take mono samples [n] at `sample_rate` Hz, float32 in [-1, 1] or int16; returns the output for this time.

        That is [m] float32 at `output_rate` Hz, so that of n samples in all floor(n * output_rate / sample_rate) have
        come; the first `latency.total` seconds are silence. Raises SpeechError for any other array, for NaN or
        infinity, and for a stream that was flushed or closed.
        """
        alone(self._hearing(self.taken(samples)))
        return self._take(self._received * self.output_rate // self.sample_rate)

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Take samples as `push` does; returns all that is ready, before its time too, for who keeps the time himself.

        The first `latency.total` seconds are silence all the same. Raises SpeechError as `push` does.
        """
        return alone(self.feeding(self.taken(samples)))

    def flush(self) -> np.ndarray:
        """End the stream; returns what is still on its way, so that all that was pushed has come out, `delay` late.

        Raises SpeechError for a stream that was flushed or closed.
        """
        return alone(self.ending())

    def taken(self, samples: np.ndarray) -> np.ndarray:
        """Check samples as `push` does; returns them as float32, for `feeding`."""
        self._check_open()
        return to_float(samples)

    def feeding(self, x: np.ndarray) -> Asking[np.ndarray]:
        """As `feed`, step by step. x: [n] of `taken`."""
        yield from self._hearing(x)
        return self._take(self._returned + len(self._ready))

    def ending(self) -> Asking[np.ndarray]:
        """As `flush`, step by step."""
        self._check_open()
        wanted = -(-self._received * self.output_rate // self.sample_rate)
        pipeline, silence = self.setup.pipeline, 0  # in which the sound ends, and into which its last part looks ahead
        while pipeline.total(self._driver.received + silence) < wanted + self.delay:
            silence += pipeline.grain
        yield from self._run(np.zeros(silence, np.float32))
        self._speak()
        self._keep((yield from self._driver.flushing()))
        self._ended = True
        return self._take(self.delay + wanted)

    def close(self) -> None:
        """Let the stream go; closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._driver.close()

    def _check_open(self) -> None:
        if self._ended or self._closed:
            done = "closed" if self._closed else "flushed"
            raise SpeechError(f"expected an open stream, but it was {done}: open another with Converter.stream()")

    def _hearing(self, x: np.ndarray) -> Asking[None]:
        self._received += len(x)
        yield from self._run(x)

    def _run(self, x: np.ndarray) -> Asking[None]:
        """Run samples step by step, so that each is judged alone."""
        driver = self._driver
        while len(x):
            room = driver.chunk - (driver.received - driver.phase) % driver.chunk
            self._speak()
            self._keep((yield from driver.pushing(torch.tensor(x[:room]))))
            x = x[room:]

    def _speak(self) -> None:
        """Let the next step be in the voice of the target that is wanted now."""
        target = self._chosen[1]
        if target is not self._written:
            target.write(self._kept["network"]["timbre"], self._driver.seat.slot)
            if target.match is not None:
                target.match.write(self._kept, self._driver.seat.slot)
            self._written = target

    def _keep(self, y: Tensor) -> None:
        """Put what a step gave behind what is ready; one that went wrong is silence, and its traces are wiped off."""
        samples = y.float().cpu().numpy()
        if not np.isfinite(samples).all():
            samples = np.zeros_like(samples)
            self._driver.seat.reset()
            self._written = None
            self.muted_chunks += 1
        self._ready = np.concatenate([self._ready, limited(samples)])

    def _take(self, until: int) -> np.ndarray:
        """The samples up to the `until`-th of all, of those that have not been taken."""
        count = max(0, until - self._returned)
        out, self._ready = self._ready[:count], self._ready[count:]
        self._returned += count
        return out
