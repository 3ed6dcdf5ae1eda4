"""Residual sums and the norms behind them: of the 114 M FastConformer, and of CosyVoice 3's DiT, guided."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.kernels.case import Call, Case
from speech.kernels.norm import (
    add_modulate,
    add_modulate_reference,
    add_norm,
    add_norm_reference,
    modulate,
    modulate_reference,
)

DIM, FRAMES = 512, 2
"""Of the recogniser in chunks of 160 ms."""

WIDE, CHUNK = 1024, 50
"""Of the DiT in chunks of a second."""


def cases() -> Iterator[Case]:
    """The recogniser's, then the DiT's; guidance doubles its rows."""
    for b in (1, 16, 64, 256, 512):
        numbers = b * FRAMES * DIM
        yield Case(f"residual and layer norm, B {b}", partial(norm_calls, b), 2 * (4 * numbers + 2 * DIM), 9 * numbers)
    for b in (1, 16, 64):
        numbers = 2 * b * CHUNK * WIDE
        yield Case(f"adaLN, B {b}", partial(modulate_calls, 2 * b), 2 * (2 * numbers + 2 * WIDE), 8 * numbers)
        make = partial(add_modulate_calls, 2 * b)
        yield Case(f"gated residual and adaLN, B {b}", make, 2 * (4 * numbers + 3 * WIDE), 10 * numbers)


def norm_calls(b: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """x + y / 2 and its layer norm."""
    torch.manual_seed(0)
    x, y = torch.randn(2, b, FRAMES, DIM).to(device, dtype)
    norm = nn.LayerNorm(DIM).to(device, dtype)
    kernel, reference = (partial(op, x, y, norm, scale=0.5) for op in (add_norm, add_norm_reference))
    return kernel, reference


def modulate_calls(b: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """The first norm of a DiT layer."""
    torch.manual_seed(0)
    x = torch.randn(b, CHUNK, WIDE).to(device, dtype)
    shift, scale = (0.1 * torch.randn(1, 1, 6 * WIDE)).to(device, dtype).chunk(6, -1)[:2]
    kernel, reference = (partial(op, x, scale, shift) for op in (modulate, modulate_reference))
    return kernel, reference


def add_modulate_calls(b: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """From attention to feed-forward in a DiT layer."""
    torch.manual_seed(0)
    x, y = torch.randn(2, b, CHUNK, WIDE).to(device, dtype)
    gate, shift, scale = (0.1 * torch.randn(1, 1, 6 * WIDE)).to(device, dtype).chunk(6, -1)[2:5]
    kernel, reference = (partial(op, x, y, gate, scale, shift) for op in (add_modulate, add_modulate_reference))
    return kernel, reference
