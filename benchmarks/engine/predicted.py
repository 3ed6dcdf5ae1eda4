"""What is expected of a card, written down before it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from speech.streaming.engine.host import Regular

BANDWIDTH, COMPUTE = 4.3e12, 790e12
"""Bytes and operations a second of the card's roofline."""

EAGER = 6e-3
"""Seconds of an eager step: about a thousand kernels, 5 to 7 us of a host's time each."""

REPLAYED = 2e-3
"""Seconds of a replayed step of a thousand small kernels, 1.5 to 2.5 us each."""

BESIDE = 9e-3
"""Seconds of NeMo's step: half as many kernels again, as it projects the whole window anew and copies its caches."""

CALL, PUSH = 40e-6, 20e-6
"""Seconds of Python for a row of a step, and for a push: what bounds the number of streams before the card does."""


@dataclass(frozen=True)
class Work:
    """What a step has to move and to compute: bytes of weights, bytes and operations of each row."""

    weights: float
    state: float
    operations: float

    def floor(self, rows: int) -> float:
        """Seconds of a step at least, by `SOURCE`."""
        return max(rows * self.operations / COMPUTE, (self.weights + rows * self.state) / BANDWIDTH)


LARGE = Work(weights=208e6, state=2.79e6, operations=0.418e9)
"""The 114 M encoder, 160 ms a step, in bfloat16; keys, values and convolutions' state are read, and partly written."""

WORK = {"114m": LARGE, "600m": Work(LARGE.weights * 4 * 24 / 17, LARGE.state * 2 * 24 / 17, LARGE.operations * 96 / 17)}
"""By the name of the size: twice as wide and 24 layers for 17 is 5.6 times the weights, and 2.8 times the state."""


def streams(regular: Sequence[Regular], period: float) -> float:
    """How many real-time streams one thread of Python can serve that take these steps and get a push each `period`."""
    return 1 / (sum(step.per_second for step in regular) * CALL + PUSH / period)
