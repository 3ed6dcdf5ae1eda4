"""Finite scalar quantisation: a codebook that is a grid, so nothing of it is learned and none of it stays unused."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

EDGE = 1e-3
"""The bound stays short of the outermost borders of rounding by this share."""


class FSQ(nn.Module):
    """Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505, section 3). [..., d] -> [..., d].

    Dimension j is bounded by a hyperbolic tangent to `levels[j]` integers around 0 and rounded; in training the
    gradient passes the rounding unchanged (straight through). With levels (3,) * 8 this is the quantiser of CosyVoice
    2's speech tokenizer: round(0.999 * tanh(x)).

    levels: integers per dimension, 3 or more each. Raises ValueError for others.
    """

    levels: Tensor
    radix: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ValueError(f"expected 3 levels or more in one dimension or more, got {list(levels)}")
        self.dim, self.size = len(levels), prod(levels)
        self.register_buffer("levels", torch.tensor(levels))
        self.register_buffer("radix", self.levels.cumprod(0) // self.levels)  # what a level adds to a code

    def forward(self, x: Tensor) -> Tensor:
        """The nearest points of the grid, within [-1, 1]; differentiable. [..., d] -> [..., d]."""
        bound = self._bound(x)
        return (bound + (bound.round() - bound).detach()) / self._lowest

    def encode(self, x: Tensor) -> Tensor:
        """Codes 0 .. size - 1: sum_j h_j * levels[0] * .. * levels[j - 1], h_j counted from 0. [..., d] -> [...]."""
        digit = self._bound(x).round().long() + self._lowest
        return (digit * self.radix).sum(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """The points of the grid that codes stand for, within [-1, 1]. [...] -> [..., d]."""
        digit = codes[..., None].div(self.radix, rounding_mode="floor").remainder(self.levels)
        return (digit - self._lowest) / self._lowest

    def _bound(self, x: Tensor) -> Tensor:
        """x within the range that rounds to the levels; an even number of them has one more below 0 than above."""
        half = (self.levels - 1) * ((1 - EDGE) / 2)
        offset = 0.5 * (1 - self.levels % 2)
        shift = ((half + offset) / (half - offset)).log() / 2  # artanh(offset / half): 0 stays 0
        return (x.float() + shift).tanh() * half - offset

    @property
    def _lowest(self) -> Tensor:
        """How far the lowest level of each dimension lies below 0, [d]."""
        return self.levels // 2
