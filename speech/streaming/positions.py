"""Positions of frames, as attention sees them: rotary, and sinusoids of distances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from speech.streaming.module import Device


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (Su et al. 2021, arXiv 2104.09864): pairs of channels turn by position * base ** (-2i / e).

    interleaved: the pairs are (0, 1), (2, 3), ... instead of the two halves. heads: only so many, the first, turn.
    """

    base: float = 1e4
    interleaved: bool = False
    heads: int | None = None

    def __call__(self, x: Tensor, index: Tensor) -> Tensor:
        """x: [b, h, t, e]; index: [b, t]."""
        return self.turned(x, *self.table(index, x.shape[-1], x.dtype))

    def table(self, index: Tensor, e: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the angles by which heads of e channels turn at index [b, t], each [b, 1, t, e / 2].

        The angles are float64: after ten hours of frames float32 would miss them by a tenth of a radian.
        """
        rate = self.base ** (-torch.arange(0, e, 2, device=index.device, dtype=torch.float32) / e)
        angle = index[:, None, :, None].double() * rate
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x: [b, h, t, e]; cos, sin: of its positions, from `table`."""
        turning, e = x if self.heads is None else x[:, : self.heads], x.shape[-1]
        a, b = turning.unflatten(-1, (e // 2, 2)).unbind(-1) if self.interleaved else turning.chunk(2, -1)
        pair = (a * cos - b * sin, a * sin + b * cos)
        turned = torch.stack(pair, -1).flatten(-2) if self.interleaved else torch.cat(pair, -1)
        return turned if self.heads is None else torch.cat([turned, x[:, self.heads :]], 1)


def sinusoid(high: int, low: int, dim: int, device: Device = None) -> Tensor:
    """Sines and cosines, interleaved, of the distances high, high - 1, .. low: [high - low + 1, dim].

    Vaswani et al. 2017, section 3.5.
    """
    distance = torch.arange(high, low - 1, -1, device=device, dtype=torch.float32)
    rate = torch.exp(torch.arange(0, dim, 2, device=device, dtype=torch.float32) * (-math.log(1e4) / dim))
    angle = distance[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :dim]


def skew(score: Tensor) -> Tensor:
    """From columns that count distances t-1 .. -t to columns that count keys. [b, h, t, 2t] -> [b, h, t, t].

    Row i wants distance i - j at key j, which is column t - 1 - i + j: a view with one column less a row does it.
    """
    t = score.shape[2]
    flat = score.flatten(2)[..., t - 1 : t - 1 + t * (2 * t - 1)]
    return flat.unflatten(2, (t, 2 * t - 1))[..., :t]
