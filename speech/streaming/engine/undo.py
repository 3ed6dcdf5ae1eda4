"""Taking a step back that failed: the state of its streams as it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch

from speech.streaming.arena import Arena


class Undo:
    """Room for the state of one batch, the largest of any of these arenas, on each of their devices.

    rows: of a batch at the most. limit: bytes of the room on one device; a batch with more state is not kept. The room
    is taken once, since memory that is taken anew for each batch costs far more than the copy: on a CPU its pages are
    taken up when they are first written.
    """

    def __init__(self, arenas: Iterable[Arena], rows: int, limit: int) -> None:
        sizes: dict[torch.device, int] = {}
        for arena in arenas:
            device, size = arena.buffer.device, min(rows, arena.slots, limit // arena.bytes) * arena.bytes
            sizes[device] = max(size, sizes.get(device, 0))
        self._rooms = {device: torch.empty(size, dtype=torch.uint8, device=device) for device, size in sizes.items()}

    def keep(self, arena: Arena, slots: Sequence[int]) -> Callable[[], object] | None:
        """Keep the state of these slots until the next call; what puts it back, or None where there is no room."""
        buffer, size = arena.buffer, len(slots) * arena.bytes
        room = self._rooms.get(buffer.device)
        if room is None or size > len(room):
            return None
        rows, index = room[:size].view(-1, arena.bytes), torch.tensor(slots, device=buffer.device)
        torch.index_select(buffer, 0, index, out=rows)
        return partial(buffer.index_copy_, 0, index, rows)
