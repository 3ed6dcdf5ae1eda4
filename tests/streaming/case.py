"""One module under the generic tests, and how it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from speech.streaming.attention import Attention
from speech.streaming.module import Streaming

D = 6
"""Channels of the small modules."""


@dataclass(frozen=True)
class Case:
    """A module under test. shape: of one input frame; longest: frames of the longest stream that is drawn.

    Legal chunks are the multiples of the module's `grain`. tight: the declared look-ahead shows in the outputs (not so
    where the weights vanish at the edge of the window).
    """

    build: Callable[[], Streaming]
    shape: tuple[int, ...] = (D,)
    longest: int = 40
    tight: bool = True

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk sizes to draw from, in input frames."""
        grain = self.module.grain
        return (grain, 2 * grain, 3 * grain, 5 * grain) if grain < 16 else (grain, 2 * grain)

    @property
    def module(self) -> Streaming:
        """The module with fixed random weights, in evaluation mode; built once."""
        return _built(self)


@cache
def _built(case: Case) -> Streaming:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = case.build().eval()
        for name, p in [*module.named_parameters(), *module.named_buffers()]:
            if p.dim() == 1 and p.is_floating_point() and name.split(".")[-1] in {"weight", "bias", "running_mean"}:
                nn.init.normal_(p, mean=float(name.endswith("weight")), std=0.3)  # no bias hides by being zero
        for layer in module.modules():
            if isinstance(layer, Attention) and layer.tabled:
                nn.init.normal_(layer.u)
                nn.init.normal_(layer.v)
    return module
