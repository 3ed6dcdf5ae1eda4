"""One kernel at one size, and the least that the size demands of a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Call = Callable[[], Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Case:
    """A kernel and its reference on the same inputs.

    name: op and sizes, such as `ring attention, B 64`. make: inputs on a device in a dtype -> the kernel's call and the
    reference's, which return the same tensors. A call is made many times: what it writes in place is its own, not the
    other's, and such that the call can follow itself. bytes, flops: what has to be moved and computed at least, in
    `dtype`. dtype: that of the measurement on a card. waits: launches, and steps within one that wait for each other:
    of these a prediction is made.
    """

    name: str
    make: Callable[[torch.device, torch.dtype], tuple[Call, Call]]
    bytes: int
    flops: int
    dtype: torch.dtype = torch.bfloat16
    waits: int = 1
