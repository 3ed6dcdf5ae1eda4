"""One buffer for the state of many streams: a row of bytes a slot, with typed views on it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from math import prod

import numpy as np
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.module import Device, State, Streaming

ALIGNMENT = 64  # bytes: a cache line, and more than any vector load asks
MAGIC, VERSION = b"SPSL", 1
HEADER = struct.Struct("<4sI16sQ")  # magic, version, fingerprint of the layout, bytes that follow


class Full(SpeechError):
    """No slot is free, or the machine has no time for one stream more.

    retry_after: seconds after which it may be worth asking again, where something is known of it.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Arena:
    """State for `slots` streams in one buffer [slots, bytes]; `state` is the tree of views that `step` takes.

    One row is one stream: taking it out, sending it away and clearing it is one copy, whatever the module.

    spec: a `Streaming` module, or a state tree with the slot axis first (its shapes and dtypes count, and it may lie on
    the meta device). dtype: of the floating state (default: the module's own). spare: rows behind those of the slots,
    which are never given to a stream.
    """

    def __init__(
        self,
        spec: Streaming | State,
        slots: int,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        spare: int = 0,
    ) -> None:
        if slots < 1:
            raise SpeechError(f"expected at least one slot, got {slots}")
        if isinstance(spec, Streaming):
            home = home_of(spec)
            device, dtype = device or home[0], dtype or home[1]
            spec = spec.init_state(1, "meta", dtype)
        layout, size = [], 0
        for path, leaf in _leaves(spec):
            layout.append((path, leaf.dtype, tuple(leaf.shape[1:]), size))
            size += -(-leaf.dtype.itemsize * prod(leaf.shape[1:]) // ALIGNMENT) * ALIGNMENT
        size = size or ALIGNMENT  # a module without state has rows too
        self.slots, self.bytes = slots, size
        with torch.inference_mode(False):  # an inference tensor could not be written outside of that mode
            self.buffer = torch.zeros(slots + spare, size, dtype=torch.uint8, device=device)
        self.state: State = {}
        for path, kind, shape, offset in layout:
            *parents, name = path
            node = self.state
            for parent in parents:
                node = node.setdefault(parent, {})
            row = self.buffer[:, offset : offset + kind.itemsize * prod(shape)]
            node[name] = row.view(kind).view(slots + spare, *shape)
        self.fingerprint = hashlib.sha256(repr(layout).encode()).digest()[:16]
        self._free = list(range(slots - 1, -1, -1))

    def open(self) -> int:
        """Take a free slot, all zeros. Raises `Full` when there is none."""
        if not self._free:
            raise Full(f"expected a free slot, but all {self.slots} are in use: close a stream or wait for one to end")
        slot = self._free.pop()
        self.reset([slot])
        return slot

    def close(self, slot: int) -> None:
        """Give a slot back."""
        if not 0 <= slot < self.slots or slot in self._free:
            raise SpeechError(
                f"expected an open slot of 0 .. {self.slots - 1}, got {slot}: close what `open` gave, once"
            )
        self._free.append(slot)

    @property
    def free(self) -> int:
        """How many slots are free."""
        return len(self._free)

    def reset(self, slots: Sequence[int]) -> None:
        """Let the streams in these slots begin anew: all state starts as zeros."""
        for slot in slots:
            self.buffer[slot].zero_()  # row by row: one assignment by an index takes ten times as long on a CPU

    def copy(self, slot: int) -> Tensor:
        """One stream's state, [bytes] uint8, copied where it lies; `paste` puts it into any slot of this layout."""
        return self.buffer[slot].clone()

    def paste(self, slot: int, row: Tensor) -> None:
        """Let the stream in `slot` go on from what `copy` gave."""
        self.buffer[slot] = row

    def save(self, slot: int) -> bytes:
        """One stream's state as bytes: a header that names the layout, and the row."""
        row = self.buffer[slot].cpu().numpy().tobytes()
        return HEADER.pack(MAGIC, VERSION, self.fingerprint, len(row)) + row

    def load(self, slot: int, data: bytes) -> None:
        """Put saved state into `slot`, be it from another arena. Raises `SpeechError` if the layout does not fit."""
        if len(data) < HEADER.size or data[:4] != MAGIC:
            raise SpeechError(
                f"expected the saved state of a stream, got {len(data)} other bytes: pass what `save` gave"
            )
        _, version, fingerprint, size = HEADER.unpack_from(data)
        if version != VERSION:
            raise SpeechError(f"expected saved state of version {VERSION}, got {version}: save it with this release")
        if fingerprint != self.fingerprint:
            raise SpeechError(
                f"expected saved state of layout {self.fingerprint.hex()[:8]}, got {fingerprint.hex()[:8]}: "
                "restore it with the model, look-ahead and dtype that it was saved with"
            )
        if len(data) - HEADER.size != size:
            raise SpeechError(f"expected {size} bytes of saved state, got {len(data) - HEADER.size}: it was cut short")
        self.buffer[slot] = torch.tensor(np.frombuffer(data, np.uint8, offset=HEADER.size))


def home_of(module: Streaming) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of a module's weights (or constants), where its state belongs."""
    first = next(chain(module.parameters(), module.buffers()), torch.zeros(()))
    return first.device, first.dtype


def _leaves(tree: State, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value
