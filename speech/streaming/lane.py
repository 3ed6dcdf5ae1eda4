"""Steps of many streams through one module: each stream asks for its own, and they may run as one batch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from speech.streaming.arena import Arena, home_of
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.graph import Graph
from speech.streaming.module import Device, State, Streaming

R = TypeVar("R")


class Steps(Protocol):
    """What a lane runs: a `Streaming` module, or a decoder that gives a list with an entry for each row.

    Where another class keeps the contract of `Streaming.step`, so that a graph can hold it, it says so by an attribute
    `captured = True`.
    """

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """State for `slots` streams: zeros, slot axis first."""
        ...

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames | Sequence[Any]:
        """One chunk of the streams in `slots` ([b] int64)."""
        ...


@runtime_checkable
class Split(Protocol):
    """A decoder whose step is split, so that a graph can hold the most of it."""

    def begin(self, frames: Frames, state: State, slots: Tensor) -> Any:
        """What asks nothing of the device; `finish` takes what it returns."""
        ...

    def finish(self, begun: Any) -> Sequence[Any]:
        """The rest of the step: its entry for each row."""
        ...


class Lane:
    """A module, and slots for the streams that run through it side by side.

    module: in evaluation mode. slots: at most so many streams at once. device, dtype: of the state (default: those of
    the module's weights; a decoder that is no `Streaming` must be told). padded: batches can be filled up to a fixed
    size with rows that step a slot of nobody, as every size costs memory: a graph on a CUDA device, what oneDNN keeps
    of it on a CPU (default: with more than one slot, on a CPU for a `Streaming` alone). answers: where the outputs of a
    step are wanted (default: on the device); a batch is moved there at once.
    """

    def __init__(
        self,
        module: Steps,
        slots: int = 1,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
        padded: bool | None = None,
        answers: Device = None,
    ) -> None:
        home = home_of(module) if isinstance(module, Streaming) else (torch.device("cpu"), torch.float32)
        self.module, self.slots = module, slots
        self.device, self.dtype = torch.device(device or home[0]), dtype or home[1]
        self.answers = torch.device(answers or self.device)
        worth = slots > 1 and (self.device.type == "cuda" or isinstance(module, Streaming))
        self.padded = worth if padded is None else padded
        self.arena = Arena(module.init_state(1, "meta", self.dtype), slots, self.device, spare=int(self.padded))
        self.graphs: dict[tuple[int, int, int], Graph] = {}
        self._pool: Any = None
        self._memo: dict[Hashable, Any] = {}
        self.empty: Tensor | None = None
        """What no outputs look like, [0, ...], once a step of frames was taken."""

    def open(self) -> Seat:
        """A place for one stream, its state all zeros. Raises `Full` when there is none."""
        return Seat(self, self.arena.open())

    def memo(self, key: Hashable, build: Callable[[], R]) -> R:
        """What `build` returns, found out once for all streams of the lane: when and where they begin."""
        if key not in self._memo:
            self._memo[key] = build()
        return self._memo[key]

    @torch.inference_mode()
    def run(self, calls: Sequence[Call], rows: int | None = None) -> list[Any]:
        """One step for all of these calls, which have one `key`: the answer to each.

        rows: fill the batch up to so many, in a lane that is padded.
        """
        first, more = calls[0], max((rows or 0) - len(calls), 0) if self.padded else 0
        data = [call.data for call in calls] + [first.data] * more
        numbers = [(call.start, call.stop, call.seat.slot) for call in calls]
        numbers += [(first.start, first.stop, self.slots)] * more
        batch = data[0][None] if len(data) == 1 else torch.stack([row.to(first.data.device) for row in data])
        key = (len(data), len(first.data), first.phase)
        graph, table = self.graphs.get(key), torch.tensor(numbers).T
        if graph is None:
            out = self._through(self.module.step, batch.to(self.device), table.to(self.device), first.phase)
        else:
            out = graph.replay(batch, table)
            out = out if isinstance(out, Frames) else self.module.finish(out)  # type: ignore[attr-defined]
        if isinstance(out, Frames):
            out = out.data.to(self.answers, copy=graph is not None)  # the next replay writes over it
            self.empty = out[0, :0].clone() if self.empty is None else self.empty
        return [*out[: len(calls)]]

    def _through(self, step: Callable[..., Any], data: Tensor, numbers: Tensor, phase: int) -> Any:
        """data: [b, t, ...]; numbers: [3, b] int64, start, stop and slot of every row."""
        start, stop, slots = numbers.unbind()
        return step(Frames(data, Place(start, stop, data.shape[1], phase)), self.arena.state, slots)

    @property
    def captures(self) -> bool:
        """Whether steps can be captured: rows of nobody can fill a batch up, and the module does its part."""
        fit = isinstance(self.module, Streaming | Split) or getattr(self.module, "captured", False)
        return fit and self.padded and self.device.type == "cuda"

    def capture(self, rows: int, count: int, phase: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Let steps of that many rows and frames be replayed from a CUDA graph; see `Graph`."""
        data = torch.zeros(rows, count, *shape, dtype=dtype, device=self.device)
        numbers = torch.tensor([[phase], [OPEN], [self.spare]]).repeat(1, rows).to(self.device)
        step = self.module.begin if isinstance(self.module, Split) else self.module.step
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        self.graphs[rows, count, phase] = Graph(partial(self._through, step, phase=phase), data, numbers, self._pool)

    @property
    def spare(self) -> int:
        """The slot of nobody. Raises ValueError in a lane that is not padded."""
        if not self.padded:
            raise ValueError("expected a padded lane, got one without a spare slot")
        return self.slots  # the row behind those of the others


@dataclass(eq=False)
class Seat:
    """A stream's slot in a lane. It can be parked: the state is kept as bytes, and the slot is free for others."""

    lane: Lane
    slot: int
    parked: bytes | None = field(default=None, repr=False)

    def reset(self) -> None:
        """Let another stream begin here. Raises `Full` where it is parked and no slot is free."""
        self.unpark()
        self.lane.arena.reset([self.slot])

    def save(self) -> bytes:
        """The stream's state as bytes."""
        return self.lane.arena.save(self.slot) if self.parked is None else self.parked

    def load(self, data: bytes) -> None:
        """Go on from saved state. Raises SpeechError if it does not fit, `Full` where parked with no slot free."""
        self.unpark()
        self.lane.arena.load(self.slot, data)

    def park(self) -> None:
        """Give the slot away and keep the state in host memory."""
        if self.parked is None:
            self.parked = self.save()
            self.lane.arena.close(self.slot)

    def unpark(self) -> None:
        """Take a slot again, perhaps another. Raises `Full`, and stays parked, when there is none."""
        if self.parked is not None:
            self.slot = self.lane.arena.open()
            self.lane.arena.load(self.slot, self.parked)
            self.parked = None

    def close(self) -> None:
        """Give the slot back; what is parked is dropped."""
        if self.parked is None:
            self.lane.arena.close(self.slot)
        self.parked = None


@dataclass(frozen=True, eq=False)
class Call:
    """A step that a stream asks for: its frames `start` .. of a signal that ends at `stop` (see `Place`).

    data: [t, ...]. The answer is the stream's row of the outputs, [t', ...], or its entry of the list that a decoder
    gives.
    """

    seat: Seat
    data: Tensor
    start: int
    stop: int = OPEN
    phase: int = 0

    @property
    def key(self) -> tuple[Lane, int, int]:
        """Calls of one key can run as one batch."""
        return self.seat.lane, len(self.data), self.phase


Asking = Generator[Call, Any, R]
"""What a stream does with some input: it yields calls, is sent the answers, and returns an R."""


@torch.inference_mode()
def alone(asking: Asking[R]) -> R:
    """Run what a stream does by itself, every call at once."""
    answer = None
    while True:
        try:
            call = asking.send(answer)
        except StopIteration as end:
            return end.value
        [answer] = call.seat.lane.run([call])


def speaking(asking: Generator[Call | R, Any, None]) -> Iterator[R]:
    """As `alone`, for a stream that yields results amid its calls: they come as soon as they are there."""
    answer = None
    while True:
        with torch.inference_mode():
            try:
                found = asking.send(answer)
                answer = found.seat.lane.run([found])[0] if isinstance(found, Call) else None
            except StopIteration:
                return
        if not isinstance(found, Call):
            yield found
