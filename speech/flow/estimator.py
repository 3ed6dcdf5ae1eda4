"""What every velocity network is to the solver and to the objectives."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor
from torch.nn import Module

from speech.flow.layers import Context, sharing
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential, State


class Estimator(Sequential):
    """A velocity network at the mel's rate: frames [b, t, x | mu | speaker | prompt] -> velocities [b, t, mel].

    Time enters as what `modulate` makes of it: a list with a tensor [n, 1, ...] for every layer that asks for it, n
    being one or the batch size. So all times of a solver are embedded at once, and those weights are read once.
    Timing and state are those of a `Sequential` of its parts; `forward` and `step` take the modulation besides.
    """

    context: Context | tuple[Context, ...]

    def __init__(self, config: Any, context: Context | tuple[Context, ...], **modules: Module) -> None:
        super().__init__(**modules)
        self.config, self.context = config, context

    def modulate(self, t: Tensor, r: Tensor | None = None) -> list[Tensor]:
        """Times t, or intervals [r, t], each [n] -> for every layer what time is to it, [n, 1, ...]."""
        raise NotImplementedError

    def forward(self, frames: Frames, time: list[Tensor]) -> Frames:  # type: ignore[override]
        """Whole signals."""
        raise NotImplementedError

    def step(self, frames: Frames, state: State, slots: Tensor, time: list[Tensor]) -> Frames:  # type: ignore[override]
        """One chunk."""
        raise NotImplementedError

    def at(self, context: Context | tuple[Context, ...]) -> Self:
        """This network, its very parameters, in another context."""
        return self if context == self.context else sharing(self, lambda: type(self)(self.config, context))
