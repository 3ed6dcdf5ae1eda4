"""The feed-forward layers of the 114 M FastConformer and of CosyVoice 3's DiT, their two linear layers one by one.

Expected of an H200 before it is measured: up to 128 rows a product takes 3 to 4 us on either path, several times its
floor of half a microsecond, and the pass behind it 2 us. Activated in one launch it is 1.5 times as fast; at 1024 rows,
where the library computes a third faster and the pass moves the hidden layer through the cache, 1.2 times. With the
parts of the second product summed by the norm, which saves the library's own sum of parts, 1.3 times up to 128 rows,
and at 256 just the tenth that it must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.kernels.case import Call, Case
from speech.kernels.feed_forward import linear_act, linear_act_reference, linear_add_norm
from speech.kernels.linear import Linear
from speech.kernels.norm import add_norm

FRAMES, DIM, HIDDEN = 2, 512, 2048
"""Of the recogniser in chunks of 160 ms."""

CHUNK, WIDE = 50, 1024
"""Of the DiT in chunks of a second, whose hidden layer is as wide as the recogniser's."""


def cases() -> Iterator[Case]:
    """Into the hidden layer and out of it, up to as many rows as the kernel takes; guidance doubles the DiT's."""
    for b in (1, 16, 64, 128, 256, 512):
        yield _activated(f"linear and SiLU, B {b}", b * FRAMES, DIM, nn.SiLU())
    for b in (1, 4, 10):
        yield _activated(f"linear and GELU, B {b}", 2 * b * CHUNK, WIDE, nn.GELU("tanh"))
    for b in (1, 16, 64, 128):
        rows = b * FRAMES
        numbers = HIDDEN * DIM + rows * (HIDDEN + 3 * DIM) + 3 * DIM  # residual, sum and norm; bias and the norm's two
        name = f"linear, residual and layer norm, B {b}"
        yield Case(name, partial(summed_calls, rows), 2 * numbers, 2 * rows * HIDDEN * DIM, waits=2)


def _activated(name: str, rows: int, dim: int, activation: nn.Module) -> Case:
    numbers = HIDDEN * dim + rows * (dim + HIDDEN) + HIDDEN
    return Case(name, partial(activated_calls, rows, dim, activation), 2 * numbers, 2 * rows * dim * HIDDEN)


def activated_calls(
    rows: int, dim: int, activation: nn.Module, device: torch.device, dtype: torch.dtype
) -> tuple[Call, Call]:
    """Into the hidden layer."""
    torch.manual_seed(0)
    layer, x = Linear(dim, HIDDEN).to(device, dtype), torch.randn(rows, dim).to(device, dtype)
    kernel, reference = (partial(op, x, layer, activation) for op in (linear_act, linear_act_reference))
    return kernel, reference


def summed_calls(rows: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """Out of it, to the next branch. The reference sums and norms in one launch, too, as this did before."""
    torch.manual_seed(0)
    layer, norm = Linear(HIDDEN, DIM).to(device, dtype), nn.LayerNorm(DIM).to(device, dtype)
    x, residual = (torch.randn(1, rows, d).to(device, dtype) for d in (HIDDEN, DIM))
    kernel = partial(linear_add_norm, x, layer, residual, norm, scale=0.5)
    return kernel, lambda: add_norm(residual, layer(x), norm, scale=0.5)
