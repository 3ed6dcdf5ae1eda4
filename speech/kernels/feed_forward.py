"""The two linear layers of a feed-forward layer, each with what follows it, for the few rows of a streaming step.

A product of few rows takes as long as reading its weight, and a pointwise pass behind it as long as being launched; of
more rows, the pass moves the hidden layer twice more. So the first product is activated while it is in registers.
The second has too few outputs to occupy a card: programs share its inputs, and the sum of their parts is taken where
the residual sum and the next norm are, which wants a launch anyway.

A norm in front is not computed here. Each of the many programs that read a row would have to pass over all of it
twice before it multiplies, which takes about as long as the launch it saves; and in a Conformer all norms but the
first of a layer come with the sum before them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from speech.kernels.backend import infers, jit, tl
from speech.kernels.linear import Linear
from speech.kernels.norm import add_norm, add_norm_reference, residual_norm

__all__ = ["linear_act", "linear_act_reference", "linear_add_norm", "linear_add_norm_reference"]

ACTIVATED_ROWS, SUMMED_ROWS, FLOAT32_ROWS = 1024, 256, 64
"""With more rows each op leaves the product to the library, which is expected to gain more by its tiles than the pass
behind it costs. In float32, whose products the matrix units do not take, that is so much earlier."""

PROGRAMS = 128
"""About as many as a large card has multiprocessors."""


def linear_act(x: Tensor, layer: nn.Module, activation: nn.Module) -> Tensor:
    """activation(layer(x)).

    x: [..., n] -> [..., m]. On a card, up to 1024 rows of a plain linear layer and SiLU, ReLU or either GELU are one
    launch; everything else (many rows, 8-bit weights, other activations) is the layer, then the activation.
    """
    kind = _kind(activation)
    if not kind or not isinstance(layer, nn.Linear) or not _runs(x, layer, ACTIVATED_ROWS):
        return linear_act_reference(x, layer, activation)
    return _product(x, layer, kind)


def linear_act_reference(x: Tensor, layer: nn.Module, activation: nn.Module) -> Tensor:
    """The same by the modules themselves."""
    return activation(layer(x))


def linear_add_norm(
    x: Tensor, layer: nn.Module, residual: Tensor, norm: nn.LayerNorm, *, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """s = residual + scale * layer(x), and its layer norm: from the hidden layer to the next branch.

    x: [b, t, n]; residual: [b, t, m]; norm: with weight and bias, over m. Returns both, each [b, t, m]. On a card, up
    to 256 rows of a plain linear layer are two launches; everything else is the layer, then `add_norm`. Raises
    ValueError for a residual that does not fit.
    """
    if residual.shape[:-1] != x.shape[:-1] or residual.shape[-1:] != norm.normalized_shape:
        raise ValueError(
            f"expected a residual of the frames {[*x.shape[:-1]]} with {norm.normalized_shape[0]} channels, "
            f"got {[*residual.shape]}"
        )
    if not isinstance(layer, nn.Linear) or not _runs(x, layer, SUMMED_ROWS, residual, norm.weight, norm.bias):
        return add_norm(residual, layer(x), norm, scale=scale)
    parts, weights = _product(x, layer), (norm.weight[None], norm.bias[None])
    return residual_norm(residual, parts, None, scale, *weights, norm.eps, modulated=False, bias=layer.bias)


def linear_add_norm_reference(
    x: Tensor, layer: nn.Module, residual: Tensor, norm: nn.LayerNorm, *, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The same by the modules themselves."""
    return add_norm_reference(residual, layer(x), norm, scale=scale)


def _kind(activation: nn.Module) -> str:
    """The kernel's name for an activation; empty where it has none."""
    match activation:
        case nn.SiLU():
            return "silu"
        case nn.ReLU():
            return "relu"
        case nn.GELU():
            return "gelu" if activation.approximate == "none" else "gelu_tanh"
    return ""


def _runs(x: Tensor, layer: nn.Linear, most: int, *others: Tensor) -> bool:
    """Whether the kernel takes this product, of at most so many rows."""
    weight = layer.weight
    if type(layer) not in (Linear, nn.Linear) or not infers(x, weight, layer.bias, *others):
        return False
    most = FLOAT32_ROWS if x.dtype == torch.float32 else most
    fits = x.shape[-1] == layer.in_features and x.dtype == weight.dtype and not weight.is_mkldnn
    return fits and 0 < x.numel() // x.shape[-1] <= most


class Tiles(NamedTuple):
    """What a program of a product computes: `rows` by `outputs` of `depth` inputs, `inner` at a time."""

    rows: int
    outputs: int
    depth: int
    inner: int


def _tiles(rows: int, m: int, n: int, size: int, *, whole: bool) -> Tiles:
    """For [rows, n] by [n, m] of numbers of `size` bytes. whole: no program shares its inputs with another.

    Tiles are as high as there are rows, up to 64, and the wider the more of them lie below each other: so there is
    about one program for 16 outputs, whatever the number of rows, and large products read little twice.
    """
    height = min(max(_power(rows), 16), 64)
    down = _ceil(rows, height)
    width = min(16 * _power(down), 128)
    inner = (256 if width <= 32 else 128) // size
    parts = 1 if whole else max(PROGRAMS // (down * _ceil(m, width)), 1)
    return Tiles(height, width, inner * _ceil(_ceil(n, inner), parts), inner)


def _power(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


def _product(x: Tensor, layer: nn.Linear, activation: str = "") -> Tensor:
    """The activated layer [..., m]; without an activation parts of x @ weight.T, [parts, ..., m] float32."""
    (m, n), rows = layer.weight.shape, x.numel() // x.shape[-1]
    tiles = _tiles(rows, m, n, x.element_size(), whole=bool(activation))
    parts = _ceil(n, tiles.depth)
    shape = (*x.shape[:-1], m)
    y = x.new_empty(shape) if activation else x.new_empty(parts, *shape, dtype=torch.float32)
    _product_kernel[_ceil(rows, tiles.rows), _ceil(m, tiles.outputs), parts](
        x.contiguous(),
        layer.weight.contiguous(),
        layer.bias if activation else None,
        y,
        rows,
        m,
        n=n,
        ACTIVATION=activation,
        ROWS=tiles.rows,
        OUTPUTS=tiles.outputs,
        DEPTH=tiles.depth,
        INNER=tiles.inner,
        WIDE=not x.is_cuda,
        num_stages=4,
    )
    return y


@jit
def _activated(x, KIND: tl.constexpr):
    """SiLU, ReLU, or GELU, exact or with a tangent (Hendrycks and Gimpel 2016, arXiv 1606.08415); else x itself."""
    if KIND == "silu":
        x *= tl.sigmoid(x)
    elif KIND == "relu":
        x = tl.where(x < 0, 0.0, x)  # what is not a number stays so
    elif KIND == "gelu":
        x *= 0.5 + 0.5 * tl.erf(x * 0.7071067811865476)
    elif KIND == "gelu_tanh":  # (1 + tanh(u)) / 2 is the sigmoid of 2 u, with u = sqrt(2 / pi) (x + 0.044715 x^3)
        x *= tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    return x


@jit
def _product_kernel(
    x,  # [rows, n]
    weight,  # [m, n]
    bias,  # [m] or none
    y,  # [parts, rows, m]
    rows,
    m,
    n: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    DEPTH: tl.constexpr,
    INNER: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Some rows by some outputs, of `DEPTH` of the inputs."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    output = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    part = tl.program_id(2)
    here, there = (row < rows)[:, None], (output < m)[None, :]
    x += row[:, None] * n
    weight += output.to(tl.int64)[None, :] * n
    total = tl.zeros((ROWS, OUTPUTS), tl.float32)
    for begin in range(0, DEPTH, INNER):
        k = part * DEPTH + begin + tl.arange(0, INNER)
        a = tl.load(x + k[None, :], mask=here & (k < n)[None, :], other=0.0)
        w = tl.load(weight + k[:, None], mask=there & (k < n)[:, None], other=0.0)
        if WIDE:  # the interpreter cannot compute in bfloat16
            a, w = a.to(tl.float32), w.to(tl.float32)
        total = tl.dot(a, w, total, input_precision="ieee")
    if bias is not None:
        total += tl.load(bias + output, mask=output < m, other=0.0).to(tl.float32)[None, :]
    y += part * rows * m + row[:, None] * m
    tl.store(y + output[None, :], _activated(total, ACTIVATION), mask=here & there)
