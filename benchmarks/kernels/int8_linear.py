"""The feed-forward layers of the 114 M FastConformer with weights of 8 bits, beside the same in 16."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch.nn.functional import linear

from benchmarks.kernels.case import Call, Case
from speech.kernels.int8_linear import int8_linear, quantize

FRAMES, DIM, HIDDEN = 2, 512, 2048


def cases() -> Iterator[Case]:
    """Into the hidden layer and back, by batch size in chunks of 160 ms."""
    for b in (1, 4, 16, 32):
        for n, m in ((DIM, HIDDEN), (HIDDEN, DIM)):
            rows = b * FRAMES
            size = m * n + 6 * m + 2 * rows * (m + n)  # a byte a weight, scales and bias; activations of 2 bytes
            yield Case(f"int8 linear {n} -> {m}, B {b}", partial(calls, rows, n, m), size, 2 * rows * m * n)


def calls(rows: int, n: int, m: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """The reference is the plain layer on the dequantised weight, which is what it replaces."""
    torch.manual_seed(0)
    weight = quantize((torch.randn(m, n) / n**0.5).to(device))
    x, bias = torch.randn(rows, n).to(device, dtype), torch.randn(m).to(device, dtype)
    return partial(int8_linear, x, weight, bias), partial(linear, x, weight.dequantized(dtype), bias)
