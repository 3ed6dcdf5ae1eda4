"""One stream through one module: any number of frames in, the outputs that are ready out."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.arena import Arena
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.lane import Asking, Call, Lane, alone
from speech.streaming.module import Device, Streaming
from speech.streaming.timing import check, phase_for

MAGIC, VERSION = b"SPDR", 1
HEADER = struct.Struct("<4sIqqqqI?")  # magic, version, chunk, phase, steps, frames received, pending bytes, ended


@dataclass(frozen=True, eq=False)
class Kept:
    """How a stream stands, kept on the device where it runs.

    state: [bytes] uint8, of its slot; pending: [n, *shape], frames that wait for a step; `driver.Driver` has the rest.
    """

    state: Tensor
    pending: Tensor
    steps: int
    received: int
    ended: bool


class Driver:
    """Runs one live stream through `module` in chunks of one size. Frames: [t, *shape]; outputs: [t', ...].

    `push` and `flush` run the stream's steps at once; `pushing` and `flushing` yield them as calls, for who steps many
    streams together. Frames stay where they came from until their step: a piece that brings none goes to no device.

    module: in evaluation mode. chunk: input frames a step, a multiple of `module.grain`. shape: of one input frame
    (samples: ()). phase: the input index at which the stream begins (default: the one with the least latency).
    dtype: of the floating state (default: the module's own). input_dtype: of the input frames (default: the same).
    outputs: shape of one output (default: it is found out by making some, which takes a step where none are ready and
    the lane has taken none).
    opening: input frames of the first step, a multiple of `module.grain`, where a stream must begin with more (default:
    `chunk`). lane: of that module, in which the stream takes a seat (default: one of its own); device and dtype are
    the lane's.
    """

    def __init__(
        self,
        module: Streaming,
        chunk: int,
        *,
        shape: tuple[int, ...] = (),
        phase: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
        input_dtype: torch.dtype | None = None,
        outputs: tuple[int, ...] | None = None,
        opening: int | None = None,
        lane: Lane | None = None,
    ) -> None:
        self.module, self.chunk, self.shape = module, chunk, shape
        lane = lane or Lane(module, device=device, dtype=dtype)
        self.device, self.dtype = lane.device, lane.dtype
        self.input_dtype = input_dtype or self.dtype
        self._opening = chunk if opening is None else opening
        steps = (chunk, self._opening)
        self.phase, self._first = lane.memo(("begin", *steps, phase), lambda: _begin(module, steps, phase))
        self.seat = lane.open()
        self._empty = None if outputs is None else torch.zeros(0, *outputs, device=lane.answers, dtype=self.dtype)
        self._begin()

    def reset(self) -> None:
        """Begin another stream."""
        self.seat.reset()
        self._begin()

    def close(self) -> None:
        """Give the seat back."""
        self.seat.close()

    def _begin(self) -> None:
        self._pieces, self._held = [torch.zeros(-self.phase, *self.shape, dtype=self.input_dtype)], -self.phase
        self._steps = self.received = 0
        self._ended = False

    @property
    def emitted(self) -> int:
        """Outputs of this stream that have been returned so far."""
        ready = self._ready
        return max(min(ready, self.module.total(self.received)) if self._ended else ready, 0)

    @property
    def room(self) -> int:
        """Input frames that are missing for the next step."""
        return self._due - self._held

    @property
    def _due(self) -> int:
        """Input frames that the next step takes."""
        return self.chunk if self._steps else self._opening

    @property
    def _taken(self) -> int:
        """Input frames that the steps so far took."""
        return self._opening + (self._steps - 1) * self.chunk if self._steps else 0

    @property
    def _ready(self) -> int:
        """Index of the next step's first output."""
        return self._first + self._taken * self.module.up // self.module.down

    def push(self, x: Tensor) -> Tensor:
        """Take any number of frames [t, *shape]; returns the outputs that they complete, [t', ...], perhaps none.

        Raises `SpeechError` after `flush` or for frames of another shape.
        """
        return alone(self.pushing(x))

    def pushing(self, x: Tensor) -> Asking[Tensor]:
        """As `push`, step by step."""
        if self._ended:
            raise SpeechError("expected an open stream, but it was flushed: call reset() to begin another")
        if tuple(x.shape[1:]) != self.shape or not x.dim():
            expected = ", ".join(map(str, ("t", *self.shape)))
            raise SpeechError(f"expected frames of shape [{expected}], got {list(x.shape)}")
        self._keep(x)
        self.received += x.shape[0]
        outs = []
        while self._held >= self._due:
            outs.append((yield from self._step(OPEN)))
        return self._joined(outs)

    def flush(self) -> Tensor:
        """End the stream; returns the rest, so that `total(received)` outputs have come in all."""
        return alone(self.flushing())

    def flushing(self) -> Asking[Tensor]:
        """As `flush`, step by step."""
        if self._ended:
            raise SpeechError("expected an open stream, but it was flushed already: call reset() to begin another")
        total, outs = self.module.total(self.received), []
        while self.emitted < total:
            missing = max(self.room, 0)
            self._keep(self._pieces[-1].new_zeros(missing, *self.shape))
            outs.append((yield from self._step(self.received)))
        self._ended = True
        return self._joined(outs)

    def _step(self, stop: int) -> Asking[Tensor]:
        """The next step on the pending frames; its outputs that lie inside the stream."""
        count, first = self._due, self._ready
        pending = self._pending()
        y = yield Call(self.seat, pending[:count], self.phase + self._taken, stop, self.phase)
        self._pieces, self._held = [pending[count:]], self._held - count
        self._steps += 1
        return y[max(-first, 0) : max(self.module.total(stop) - first, 0)]

    def _keep(self, x: Tensor) -> None:
        """Hold frames back until their step; copied, as who pushes may go on to change them."""
        self._pieces.append(x.to(self.input_dtype, copy=True))
        self._held += x.shape[0]

    def _pending(self) -> Tensor:
        """The frames that are held back."""
        if len(self._pieces) > 1:
            self._pieces = [torch.cat([piece.to(self._pieces[-1].device) for piece in self._pieces])]
        return self._pieces[0]

    def _joined(self, outs: list[Tensor]) -> Tensor:
        if outs:
            return torch.cat(outs)
        self._empty = self.seat.lane.empty if self._empty is None else self._empty
        if self._empty is None:  # what an output looks like is known only by making some
            start = torch.tensor([self.phase], device=self.device)
            place = Place(start, torch.zeros_like(start), self.chunk, self.phase)
            nothing = Frames(torch.zeros(1, self.chunk, *self.shape, device=self.device, dtype=self.input_dtype), place)
            scratch = Arena(self.module, 1, self.device, self.dtype).state
            made = self.module.step(nothing, scratch, torch.zeros_like(start)).data
            self._empty = made[0, :0].to(self.seat.lane.answers)
        return self._empty.clone()

    def keep(self) -> Kept:
        """The stream as it stands, for `resume`: as `snapshot`, but nothing leaves the device."""
        state = self.seat.lane.arena.copy(self.seat.slot)
        return Kept(state, self._pending().clone(), self._steps, self.received, self._ended)

    def resume(self, kept: Kept) -> None:
        """Go on where `keep` was called, in a stream of the same module, chunk and phase; any number of them may."""
        self.seat.lane.arena.paste(self.seat.slot, kept.state)
        self._stand(kept.pending, kept.steps, kept.received, kept.ended)

    def _stand(self, pending: Tensor, steps: int, received: int, ended: bool) -> None:
        self._pieces, self._held = [pending], len(pending)
        self._steps, self.received, self._ended = steps, received, ended

    def snapshot(self) -> bytes:
        """The stream as it stands, as bytes: module state, pending frames and position."""
        pending = self._pending().contiguous().view(-1).view(torch.uint8).cpu().numpy().tobytes()
        head = (self.chunk, self.phase, self._steps, self.received, len(pending), self._ended)
        return HEADER.pack(MAGIC, VERSION, *head) + pending + self.seat.save()

    def restore(self, data: bytes) -> None:
        """Go on where `snapshot` was taken, by a driver of the same module, chunk and phase. Raises `SpeechError`."""
        if len(data) < HEADER.size or data[:4] != MAGIC:
            raise SpeechError(f"expected the snapshot of a stream, got {len(data)} other bytes: pass what it gave")
        _, version, chunk, phase, steps, received, size, ended = HEADER.unpack_from(data)
        if version != VERSION:
            raise SpeechError(f"expected a snapshot of version {VERSION}, got {version}: take it with this release")
        if (chunk, phase) != (self.chunk, self.phase):
            raise SpeechError(
                f"expected a snapshot of chunk {self.chunk} and phase {self.phase}, got {chunk} and {phase}"
            )
        self.seat.load(data[HEADER.size + size :])
        raw = torch.tensor(np.frombuffer(data, np.uint8, size, HEADER.size))
        self._stand(raw.view(self.input_dtype).view(-1, *self.shape), steps, received, ended)


def _begin(module: Streaming, steps: tuple[int, ...], phase: int | None) -> tuple[int, int]:
    """Where streams of such steps begin (default: with the least latency), and the index of their first output.

    Raises SpeechError where they cannot.
    """
    phase = phase_for(module) if phase is None else phase
    for frames in steps:
        check(module, frames, phase)
    return phase, module.first(phase)
