"""The feed-forward layers of the 114 M FastConformer with weights of 8 bits, beside the same in 16."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch.nn.functional import linear

from benchmarks.kernels.case import Call, Case
from speech.kernels.eight_bits import DTYPES, dequantised, quantised
from speech.kernels.quantised_linear import Weight, quantised_linear

FRAMES, DIM, HIDDEN = 2, 512, 2048


def cases() -> Iterator[Case]:
    """Into the hidden layer and back, by batch size in chunks of 160 ms."""
    for kind in DTYPES:
        for b in (1, 4, 16, 32):
            for n, m in ((DIM, HIDDEN), (HIDDEN, DIM)):
                rows = b * FRAMES
                size = m * n + 6 * m + 2 * rows * (m + n)  # a byte a weight, scales and bias; activations of 2 bytes
                make = partial(calls, kind, rows, n, m)
                yield Case(f"{kind} linear {n} -> {m}, B {b}", make, size, 2 * rows * m * n)


def calls(kind: str, rows: int, n: int, m: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """The reference is the plain layer on the dequantised weight, which is what it replaces."""
    torch.manual_seed(0)
    weight = Weight(*quantised((torch.randn(m, n) / n**0.5).to(device), DTYPES[kind]))
    x, bias = torch.randn(rows, n).to(device, dtype), torch.randn(m).to(device, dtype)
    return partial(quantised_linear, x, weight, bias), partial(linear, x, dequantised(*weight, dtype), bias)
