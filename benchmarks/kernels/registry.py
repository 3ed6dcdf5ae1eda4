"""The modules of cases. Each defines `cases()`, the smallest first: it is the one that is interpreted."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from benchmarks.kernels.case import Case

OPS = (
    "ring_attention",
    "overlap_add",
    "snake",
    "log_mel",
    "norm",
    "feed_forward",
    "depthwise",
    "transducer_greedy",
    "transducer_loss",
    "quantised_linear",
)


def cases(op: str) -> Iterator[Case]:
    """The cases of the op's module in this folder, smallest first."""
    yield from import_module(f"benchmarks.kernels.{op}").cases()
