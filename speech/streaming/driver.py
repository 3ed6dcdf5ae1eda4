"""One stream through one module: any number of frames in, the outputs that are ready out."""

from __future__ import annotations

import struct

import numpy as np
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.arena import Arena, home_of
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import Device, Streaming
from speech.streaming.timing import check, phase_for

MAGIC, VERSION = b"SPDR", 1
HEADER = struct.Struct("<4sIqqqqI?")  # magic, version, chunk, phase, steps, frames received, pending bytes, ended


class Driver:
    """Runs one live stream through `module` in chunks of one size. Frames: [t, *shape]; outputs: [t', ...].

    module: in evaluation mode. chunk: input frames a step, a multiple of `module.grain`. shape: of one input frame
    (samples: ()). phase: the input index at which the stream begins (default: the one with the least latency).
    dtype: of the floating state (default: the module's own). input_dtype: of the input frames (default: the same).
    outputs: shape of one output (default: it is found out by making some, which takes a step where none are ready yet).
    opening: input frames of the first step, a multiple of `module.grain`, where a stream must begin with more (default:
    `chunk`).
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
    ) -> None:
        home = home_of(module)
        self.module, self.chunk, self.shape = module, chunk, shape
        self.device, self.dtype = torch.device(device or home[0]), dtype or home[1]
        self.input_dtype = input_dtype or self.dtype
        self.phase = phase_for(module) if phase is None else phase
        self._opening = chunk if opening is None else opening
        for frames in (chunk, self._opening):
            check(module, frames, self.phase)
        self._first = module.first(self.phase)
        self.arena = Arena(module, 1, self.device, self.dtype)
        self._slot = torch.zeros(1, dtype=torch.long, device=self.device)
        self._empty = None if outputs is None else torch.zeros(0, *outputs, device=self.device, dtype=self.dtype)
        self._begin()

    def reset(self) -> None:
        """Begin another stream."""
        self.arena.reset([0])
        self._begin()

    def _begin(self) -> None:
        self._pending = torch.zeros(-self.phase, *self.shape, device=self.device, dtype=self.input_dtype)
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
        return self._due - len(self._pending)

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
        if self._ended:
            raise SpeechError("expected an open stream, but it was flushed: call reset() to begin another")
        if tuple(x.shape[1:]) != self.shape or not x.dim():
            expected = ", ".join(map(str, ("t", *self.shape)))
            raise SpeechError(f"expected frames of shape [{expected}], got {list(x.shape)}")
        with torch.inference_mode():
            self._pending = torch.cat([self._pending, x.to(self.device, self.input_dtype)])
            self.received += len(x)
            outs = []
            while len(self._pending) >= self._due:
                outs.append(self._step(OPEN))
            return self._joined(outs)

    def flush(self) -> Tensor:
        """End the stream; returns the rest, so that `total(received)` outputs have come in all."""
        if self._ended:
            raise SpeechError("expected an open stream, but it was flushed already: call reset() to begin another")
        total = self.module.total(self.received)
        with torch.inference_mode():
            outs = []
            while self.emitted < total:
                missing = max(self.room, 0)
                silence = torch.zeros(missing, *self.shape, device=self.device, dtype=self.input_dtype)
                self._pending = torch.cat([self._pending, silence])
                outs.append(self._step(self.received))
            self._ended = True
            return self._joined(outs)

    def _step(self, stop: int) -> Tensor:
        """The next step on the pending frames; its outputs that lie inside the stream."""
        start, count, first = torch.tensor([self.phase + self._taken], device=self.device), self._due, self._ready
        place = Place(start, torch.tensor([stop], device=self.device), count, self.phase)
        y = self.module.step(Frames(self._pending[None, :count], place), self.arena.state, self._slot).data[0]
        self._pending = self._pending[count:]
        self._steps += 1
        return y[max(-first, 0) : max(self.module.total(stop) - first, 0)]

    def _joined(self, outs: list[Tensor]) -> Tensor:
        if outs:
            return torch.cat(outs)
        if self._empty is None:  # what an output looks like is known only by making some
            place = Place(self._slot + self.phase, self._slot, self.chunk, self.phase)
            nothing = Frames(torch.zeros(1, self.chunk, *self.shape, device=self.device, dtype=self.input_dtype), place)
            scratch = Arena(self.module, 1, self.device, self.dtype).state
            self._empty = self.module.step(nothing, scratch, self._slot).data[0, :0]
        return self._empty.clone()

    def snapshot(self) -> bytes:
        """The stream as it stands, as bytes: module state, pending frames and position."""
        pending = self._pending.contiguous().view(-1).view(torch.uint8).cpu().numpy().tobytes()
        head = (self.chunk, self.phase, self._steps, self.received, len(pending), self._ended)
        return HEADER.pack(MAGIC, VERSION, *head) + pending + self.arena.save(0)

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
        self.arena.load(0, data[HEADER.size + size :])
        raw = torch.tensor(np.frombuffer(data, np.uint8, size, HEADER.size))
        self._pending = raw.view(self.input_dtype).view(-1, *self.shape).to(self.device)
        self._steps, self.received, self._ended = steps, received, ended
