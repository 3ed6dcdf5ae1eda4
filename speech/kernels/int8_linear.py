"""A linear layer that keeps its weight in 8 bits, for batches so small that its time is that of reading the weight."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from speech.kernels.backend import jit, tl, triton
from speech.kernels.dispatch import infers

__all__ = ["Int8Weight", "int8_linear", "int8_linear_reference", "quantize"]

ROWS = 64
"""With more, a product of unpacked weights takes no longer than reading them."""


class Int8Weight(NamedTuple):
    """values * scale[:, None] is the weight. values: [m, n] int8, from -127 to 127; scale: [m] float32."""

    values: Tensor
    scale: Tensor

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The weight as it counts, [m, n]."""
        return (self.values * self.scale[:, None]).to(dtype)


def quantize(weight: Tensor) -> Int8Weight:
    """Symmetric, a scale for every output, round to nearest: off by at most half a scale. weight: [m, n]."""
    scale = weight.detach().float().abs().amax(1) / 127
    steps = weight.detach().float() / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    return Int8Weight(steps.round().clamp(-127, 127).to(torch.int8), scale)


def int8_linear(x: Tensor, weight: Int8Weight, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias for activations as they are. x: [..., n]; bias: [m]. Returns [..., m] in the dtype of x.

    Up to 64 rows of x the kernel reads the 8-bit weight once and scales sums in float32; for more rows, and off the
    card, the weight is dequantised first. Raises ValueError for sizes that do not fit.
    """
    (m, n), rows = weight.values.shape, x.numel() // max(x.shape[-1], 1)
    if x.shape[-1] != n or (bias is not None and bias.shape != (m,)):
        got = "no bias" if bias is None else f"a bias {[*bias.shape]}"
        raise ValueError(f"expected inputs [..., {n}] and a bias [{m}] or none, got {[*x.shape]} and {got}")
    if not 0 < rows <= ROWS or not infers(x, *weight, bias):
        return int8_linear_reference(x, weight, bias)
    y = x.new_empty(*x.shape[:-1], m)
    outputs = 16 if m <= 4096 else 32  # so that there are more programs than multiprocessors
    _int8_linear_kernel[(triton.cdiv(m, outputs),)](
        x.contiguous(),
        weight.values.contiguous(),
        weight.scale.contiguous(),
        bias,
        y,
        rows,
        m,
        n=n,
        ROWS=max(16, triton.next_power_of_2(rows)),
        OUTPUTS=outputs,
        INNER=128,
        BIASED=bias is not None,
        WIDE=not x.is_cuda,
    )
    return y


def int8_linear_reference(x: Tensor, weight: Int8Weight, bias: Tensor | None = None) -> Tensor:
    """The same by a plain linear layer on the dequantised weight."""
    return linear(x, weight.dequantized(x.dtype), bias)


@jit
def _int8_linear_kernel(
    x,  # [rows, n]
    values,  # [m, n]
    scale,  # [m]
    bias,  # [m] or None
    y,  # [rows, m]
    rows,
    m,
    n: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    INNER: tl.constexpr,
    BIASED: tl.constexpr,
    WIDE: tl.constexpr,
):
    """All rows by some outputs: their weights are read by this program alone."""
    row, output = tl.arange(0, ROWS), tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    here, there = row < rows, output < m
    at = output.to(tl.int64) * n
    total = tl.zeros((ROWS, OUTPUTS), tl.float32)
    for begin in range(0, n, INNER):
        k = begin + tl.arange(0, INNER)
        a = tl.load(x + row[:, None] * n + k[None, :], mask=here[:, None] & (k < n)[None, :], other=0.0)
        w = tl.load(values + at[None, :] + k[:, None], mask=there[None, :] & (k < n)[:, None], other=0)
        if WIDE:  # the interpreter cannot compute in bfloat16
            a = a.to(tl.float32)
        total = tl.dot(a, w.to(a.dtype), total, input_precision="ieee")
    total *= tl.load(scale + output, mask=there, other=0.0)[None, :]
    if BIASED:
        total += tl.load(bias + output, mask=there, other=0.0).to(tl.float32)[None, :]
    tl.store(y + row[:, None] * m + output[None, :], total, mask=here[:, None] & there[None, :])
