"""A linear layer that keeps its weight in 8 bits, for batches so small that its time is that of reading the weight."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from speech.kernels.backend import infers, jit, tl, triton
from speech.kernels.eight_bits import dequantised, quantised
from speech.kernels.linear import Linear

__all__ = ["QuantisedLinear", "Weight", "quantise", "quantised_linear", "quantised_linear_reference"]

ROWS = 64
"""With more, on a card, a product of unpacked weights takes no longer than reading them."""


class QuantisedLinear(nn.Module):
    """A linear layer whose weight is a `Weight`; for inference only. [..., n] -> [..., m].

    The bytes are kept as int8, whatever they mean, so that a change of the model's precision passes them by.
    """

    codes: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        values, scale = quantised(layer.weight, dtype)
        self.dtype, self.bias = dtype, layer.bias
        self.register_buffer("codes", values.view(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, input: Tensor) -> Tensor:
        return quantised_linear(input, Weight(self.codes.view(self.dtype), self.scale), self.bias)


def quantise(module: nn.Module, dtype: torch.dtype) -> None:
    """Replace every `Linear` within `module` by a `QuantisedLinear`. dtype: int8 or float8_e4m3fn."""
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, Linear)]
    for name, layer in layers:
        layer.unpack()
        module.set_submodule(name, QuantisedLinear(layer, dtype))


class Weight(NamedTuple):
    """values * scale[:, None] is the weight: `eight_bits.quantised` of its rows.

    values: [m, n] int8 or float8_e4m3fn; scale: [m] float32.
    """

    values: Tensor
    scale: Tensor


def quantised_linear(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias for activations as they are. x: [..., n]; bias: [m]. Returns [..., m] in the dtype of x.

    On a card, up to 64 rows of x, the kernel reads the 8-bit weight once and scales sums in float32. On a CPU PyTorch's
    own kernel multiplies int8 weights and float32 activations as bfloat16, whatever the number of rows, so that a row's
    result is the same beside any others. Elsewhere the weight is dequantised first. Raises ValueError for sizes that do
    not fit.
    """
    (m, n), rows = weight.values.shape, x.numel() // max(x.shape[-1], 1)
    if x.shape[-1] != n or (bias is not None and bias.shape != (m,)):
        got = "no bias" if bias is None else f"a bias {[*bias.shape]}"
        raise ValueError(f"expected inputs [..., {n}] and a bias [{m}] or none, got {[*x.shape]} and {got}")
    if 0 < rows <= ROWS and infers(x, *weight, bias):
        return _launch(x, weight, bias)
    if rows and _packs(x, weight):
        return _on_cpu(x, weight, bias)
    return quantised_linear_reference(x, weight, bias)


def quantised_linear_reference(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """The same by a plain linear layer on the dequantised weight."""
    return linear(x, dequantised(*weight, x.dtype), bias)


def _packs(x: Tensor, weight: Weight) -> bool:
    """Whether `_on_cpu` can take these. PyTorch's kernel reads inputs 16 at a time, unchecked."""
    fit = x.device.type == "cpu" and x.dtype == torch.float32 and weight.values.dtype == torch.int8
    return fit and weight.values.shape[1] % 16 == 0 and not (torch.is_grad_enabled() and x.requires_grad)


def _on_cpu(x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    m, n = weight.values.shape
    one = torch.ones(m, dtype=torch.bfloat16)  # scales are as exact as ever, behind the sums
    sums = torch.ops.aten._weight_int8pack_mm(x.reshape(-1, n).bfloat16(), weight.values, one).float()
    y = sums * weight.scale if bias is None else torch.addcmul(bias, sums, weight.scale)
    return y.view(*x.shape[:-1], m)


def _launch(x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    (m, n), rows = weight.values.shape, x.numel() // x.shape[-1]
    y = x.new_empty(*x.shape[:-1], m)
    outputs = 16 if m <= 4096 else 32  # so that there are more programs than multiprocessors
    _quantised_linear_kernel[(triton.cdiv(m, outputs),)](
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


@jit
def _quantised_linear_kernel(
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
        w = tl.load(values + at[None, :] + k[:, None], mask=there[None, :] & (k < n)[:, None], other=0.0)
        if WIDE:  # the interpreter cannot compute in bfloat16
            a = a.to(tl.float32)
        total = tl.dot(a, w.to(a.dtype), total, input_precision="ieee")
    total *= tl.load(scale + output, mask=there, other=0.0)[None, :]
    if BIASED:
        total += tl.load(bias + output, mask=there, other=0.0).to(tl.float32)[None, :]
    tl.store(y + row[:, None] * m + output[None, :], total, mask=here[:, None] & there[None, :])
