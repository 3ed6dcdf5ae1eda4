"""A small model for engines, of modules of the streaming registry, and an engine's scheduler without its thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.driver import Driver
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import prepared
from speech.streaming.engine.host import Host, Hosted, Regular, Yielding
from speech.streaming.engine.scheduler import Scheduler
from speech.streaming.engine.session import Session
from speech.streaming.frames import Frames
from speech.streaming.lane import Lane, Seat
from speech.streaming.module import Pointwise, State, Streaming
from speech.streaming.timing import phase_for
from tests.streaming.registry import REGISTRY

UNFIT, BROKEN, FATAL = float("nan"), -1e9, 1e9
"""Inputs that are refused, that the stream cannot work on, and that break a step."""


class Fragile(Pointwise):
    """A layer whose step fails, for all rows, where one of them holds `FATAL`."""

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        if (frames.data >= FATAL).any():
            raise RuntimeError("the step failed")
        return super().step(frames, state, slots)


@dataclass(frozen=True)
class Kind:
    """One way to stream: a module, in chunks of so many frames of this shape."""

    module: Streaming
    chunk: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, name: str, grains: int = 1) -> Kind:
        """A module of the registry, in chunks of so many of its grains."""
        case = REGISTRY[name]
        return cls(case.module, grains * case.module.grain, case.shape)

    def driver(self, lane: Lane | None = None) -> Driver:
        return Driver(self.module, self.chunk, shape=self.shape, lane=lane)

    def alone(self, pieces: Sequence[Tensor]) -> Tensor:
        """What a stream of these pieces gives by itself."""
        driver = self.driver()
        return torch.cat([*map(driver.push, pieces), driver.flush()])

    def noise(self, frames: int, seed: int = 0) -> Tensor:
        return torch.randn(frames, *self.shape, generator=torch.Generator().manual_seed(seed))


FRAGILE = Kind(Fragile(torch.nn.Tanh()).eval(), 2, (3,))
FRONT = Kind.of("front end 8x")
LSTM = Kind.of("lstm 1", 3)
ATTENTION = Kind.of("attention sliding ahead rotary", 2)


class HostedFrames:
    """A stream of pieces [t, *shape] to outputs [t', ...]. A piece that holds a `BROKEN` ends it."""

    def __init__(self, kind: Kind, lane: Lane, lead: float, stubborn: bool) -> None:
        self.driver, self.lead, self.stubborn = kind.driver(lane), lead, stubborn
        self._closed = False

    @property
    def seats(self) -> Sequence[Seat]:
        return [self.driver.seat]

    def taken(self, item: Tensor) -> Tensor:
        if item.isnan().any():
            raise SpeechError("expected numbers, got NaN: pass others")
        return item

    def feeding(self, item: Tensor) -> Yielding:
        if (item == BROKEN).any():
            raise ValueError("the stream broke")
        for piece in item.split(self.driver.chunk):
            y = yield from self.driver.pushing(piece)
            if len(y):
                yield y

    def ending(self) -> Yielding:
        yield (yield from self.driver.flushing())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.driver.close()
            if self.stubborn:
                raise OSError("it does not close well")


class SmallHost:
    """Room for `slots` streams of each of these kinds, whose chunks last so many seconds; the first is the default."""

    def __init__(
        self,
        slots: int,
        kinds: Sequence[Kind] = (FRONT,),
        *,
        padded: bool = False,
        backlog: int = 400,
        seconds: float = 0.05,
    ) -> None:
        self.backlog, self.seconds = backlog, seconds
        self.lanes = [(kind, Lane(kind.module, slots, padded=padded)) for kind in kinds]
        self.regular = [
            Regular(lane, kind.chunk, phase_for(kind.module), kind.shape, torch.float32, 1 / seconds, f"kind {i}")
            for i, (kind, lane) in enumerate(self.lanes)
        ]

    def open(self, *, kind: int = 0, lead: float = 0.0, stubborn: bool = False) -> HostedFrames:
        """kind: which one. lead: as if so much sound had been given. stubborn: closing it raises."""
        if not 0 <= kind < len(self.lanes):
            raise SpeechError(f"expected a kind below {len(self.lanes)}, got {kind}: choose one")
        return HostedFrames(*self.lanes[kind], lead, stubborn)


class SmallModel:
    """What an engine is given."""

    def host(self, slots: int, **options: Any) -> SmallHost:
        return SmallHost(slots, **options)


class Rig:
    """Sessions of a host on a scheduler that steps when it is told to."""

    def __init__(self, host: Host, slots: int, config: EngineConfig | None = None) -> None:
        self.host, self.config = host, config or EngineConfig()
        steps = {step.lane: step for step in host.regular}
        costs = {lane: prepared(step, self.config, slots) for lane, step in steps.items()}
        self.scheduler = Scheduler(self.config, slots, host.seconds, steps, costs)

    def open(self, **options: Any) -> Session:
        """Begin a stream. Raises `Full`."""
        self.scheduler.make_room()
        hosted: Hosted = self.host.open(**options)
        session = Session(hosted, self.host.backlog, self.config.results, self.scheduler.wake)
        self.scheduler.add(session)
        return session

    def step(self) -> bool:
        """Take up what came, and one batch; whether there was one."""
        self.scheduler.gather()
        return self.scheduler.step(time.perf_counter())

    def settle(self) -> None:
        """Step until nothing is asked for."""
        while self.step():
            pass

    @property
    def batches(self) -> dict[str, tuple[int, float]]:
        """Of each kind of step: how many there were, and rows in all."""
        return {name: (step.count, step.rows) for name, step in self.scheduler.meter.steps.items()}

    @property
    def free(self) -> set[int]:
        """How many slots are free in the lanes."""
        return {step.lane.arena.free for step in self.host.regular}

    def finished(self, session: Session) -> list[Any]:
        """End a stream; all that it gives from here on. Raises what it raises."""
        session.end()
        out = []
        while not session.done:
            before = session.buffered
            self.settle()
            found = session.poll()
            assert found or session.done or session.buffered < before, "the stream is stuck"
            out += found
        return out + session.poll()
