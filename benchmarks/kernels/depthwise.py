"""The convolution module of the 114 M FastConformer in chunks of 160 ms, gate to SiLU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.kernels.case import Call, Case
from speech.kernels.depthwise import depthwise_conv, depthwise_conv_reference

FRAMES, DIM, TAPS = 2, 512, 9


def cases() -> Iterator[Case]:
    """One case a batch size."""
    for b in (1, 16, 64, 256, 512):
        numbers = b * DIM * (3 * FRAMES + 2 * (TAPS - 1)) + DIM * (TAPS + 3)  # gates, output, cache twice; weights
        flops = 2 * b * FRAMES * DIM * TAPS
        yield Case(f"conformer convolution, B {b}", partial(calls, b), 2 * numbers, flops)


def calls(b: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """The kernel and the reference, each with a cache of its own."""
    torch.manual_seed(0)
    x = torch.randn(b, FRAMES, 2 * DIM).to(device, dtype)
    weight = (torch.randn(DIM, 1, TAPS) / TAPS**0.5).to(device, dtype)
    bias = torch.randn(DIM).to(device, dtype)
    norm = nn.LayerNorm(DIM).to(device, dtype).requires_grad_(False)
    outside = torch.zeros(b, FRAMES, dtype=torch.bool, device=device)
    tails = [torch.zeros(b + 1, TAPS - 1, DIM, device=device, dtype=dtype) for _ in range(2)]
    slots = torch.randperm(b + 1)[:b].to(device)
    ops = (depthwise_conv, depthwise_conv_reference)
    kernel, reference = (
        partial(op, x, outside, tail, slots, weight, bias, norm=norm, activate=True)
        for op, tail in zip(ops, tails, strict=True)
    )
    return kernel, reference
