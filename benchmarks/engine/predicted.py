"""What is expected of a card, written down before it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from speech.kernels.backend import unfused
from speech.streaming.engine.host import Regular
from speech.streaming.lane import Lane

BANDWIDTH, COMPUTE = 4.3e12, 790e12
"""Bytes and operations a second of the card's roofline."""

LAUNCHED, REPLAYED = 6e-6, 2e-6
"""Seconds of an operation that PyTorch launches, which the host takes, and of a small kernel in a graph."""

LEFT = 0.5
"""With our kernels, the share of the launches that is left, as counted in a step of a FastConformer."""

BESIDE = 9e-3
"""Seconds of NeMo's step: 1500 launches, as it projects the whole window anew and copies its caches."""

CALL, PUSH = 40e-6, 20e-6
"""Seconds of Python for a row of a step, and for a push: what bounds the number of streams before the card does."""


@dataclass(frozen=True)
class Work:
    """What a step has to move and to compute: bytes of weights, bytes and operations of each row."""

    weights: float
    state: float
    operations: float

    def floor(self, rows: int) -> float:
        """Seconds of a step at least, by the roofline."""
        return max(rows * self.operations / COMPUTE, (self.weights + rows * self.state) / BANDWIDTH)


LARGE = Work(weights=208e6, state=2.79e6, operations=0.418e9)
"""The 114 M encoder, 160 ms a step, in bfloat16; keys, values and convolutions' state are read, and partly written."""

WORK = {"114m": LARGE, "600m": Work(LARGE.weights * 4 * 24 / 17, LARGE.state * 2 * 24 / 17, LARGE.operations * 96 / 17)}
"""By the name of the size: twice as wide and 24 layers for 17 is 5.6 times the weights, and 2.8 times the state."""


def launches(call: Callable[[], object]) -> int:
    """How many operations a call asks of a device without our kernels; views ask nothing."""
    with unfused(), _Counter() as counter:
        call()
    return counter.count


class _Counter(TorchDispatchMode):
    """Counts operations that are no views."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def floor(name: str, step: Regular, rows: int) -> float:
    """Seconds of a step at least: of the encoder of a known size by `Work`, of others by what they have to read."""
    if name in WORK and step.name == "encoder":
        return WORK[name].floor(rows)
    return (_weights(step.lane) + rows * step.lane.arena.bytes) / BANDWIDTH


def _weights(lane: Lane) -> int:
    """Bytes of the weights of a lane, those of a decoder, which is no module, left out."""
    module = lane.module
    return sum(x.nbytes for x in module.parameters()) if isinstance(module, nn.Module) else 0


def streams(regular: Sequence[Regular], period: float) -> float:
    """How many real-time streams one thread of Python can serve that take these steps and get a push each `period`."""
    return 1 / (sum(step.per_second for step in regular) * CALL + PUSH / period)
