"""Two streams through a module, chunk by chunk, where kernels run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.streaming.arena import Arena
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import Streaming


def stepped(module: Streaming, x: Tensor, chunk: int, *arguments: Any, phase: int = 0) -> Tensor:
    """The outputs of the whole signals x [2, t, ...] as streams that begin at `phase`: [2, total(t), ...].

    They lie crosswise in the slots of an arena, and around them is NaN. arguments: of `step`, behind the slots.
    """
    count, total = x.shape[1], module.total(x.shape[1])
    arena, slots = Arena(module, 4), torch.tensor([2, 0], device=x.device)
    outs: list[Tensor] = []
    at = phase
    while sum(y.shape[1] for y in outs) < total:
        around = (*[0, 0] * (x.dim() - 2), max(-at, 0), max(at + chunk - count, 0))
        data = pad(x[:, max(at, 0) : max(at + chunk, 0)], around, value=float("nan"))[:, :chunk]
        stop = torch.full_like(slots, OPEN if at + chunk < count else count)
        y = module.step(Frames(data, Place(slots * 0 + at, stop, chunk, phase)), arena.state, slots, *arguments)
        index = y.place.index[0]
        outs.append(y.data[:, (index >= 0) & (index < total)])
        at += chunk
    return torch.cat(outs, 1)
