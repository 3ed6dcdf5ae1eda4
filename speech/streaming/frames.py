"""Frames that know their place in the stream: what flows between streamable modules."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

OPEN = 1 << 40
"""`stop` of a stream whose end is not known yet. It stays beyond every real index through any chain of strides."""


@dataclass(frozen=True)
class Place:
    """Where a chunk lies: row b holds the frames `start[b] .. start[b] + count - 1` of a stream that ends at `stop[b]`.

    A frame whose index is negative, or not below `stop`, lies outside the stream and counts as zero.

    start, stop: [b] int64. phase: the index at which the first chunk of every stream begins at this point of the
    network; it is a plain integer, so that what depends on it (which outputs of a strided layer belong to a chunk) has
    the same shape in every step.
    """

    start: Tensor
    stop: Tensor
    count: int
    phase: int = 0
    _memo: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def index(self) -> Tensor:
        """[b, t] int64: the stream index of every frame."""
        return self.start[:, None] + torch.arange(self.count, device=self.start.device)

    @cached_property
    def valid(self) -> Tensor:
        """[b, t] bool: whether the frame lies inside its stream."""
        return (self.index >= 0) & (self.index < self.stop[:, None])

    @cached_property
    def outside(self) -> Tensor:
        """[b, t] bool: whether the frame lies outside its stream."""
        return ~self.valid

    def memo(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """What `build` returns, computed once for this place: masks that all layers at one rate share."""
        if key not in self._memo:
            self._memo[key] = build()
        return self._memo[key]


@dataclass(frozen=True)
class Frames:
    """A chunk of every stream that steps, or the whole signals. data: [b, t, ...] (samples: [b, t])."""

    data: Tensor
    place: Place

    @classmethod
    def whole(cls, data: Tensor, lengths: Tensor | None = None) -> Frames:
        """Complete signals. data: [b, t, ...]; lengths: [b] valid frames (default: all of them)."""
        b, t = data.shape[:2]
        if lengths is None:
            lengths = torch.full((b,), t, dtype=torch.long, device=data.device)
        return cls(data, Place(torch.zeros_like(lengths), lengths, t))

    def like(self, data: Tensor) -> Frames:
        """Other data at the same place. data: [b, t, ...]."""
        return Frames(data, self.place)

    def zeroed(self) -> Tensor:
        """[b, t, ...]: the data with everything outside the stream set to zero."""
        outside = self.place.outside
        return self.data.masked_fill(outside.view(*outside.shape, *[1] * (self.data.dim() - 2)), 0.0)

    @property
    def lengths(self) -> Tensor:
        """[b] int64: valid frames of whole signals."""
        return self.place.stop.clamp(max=self.place.count)
