"""A residual sum and the layer norm behind it, in one launch: between the branches of a Conformer and of a DiT."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from speech.kernels.backend import infers, jit, tl, triton


def add_norm(x: Tensor, y: Tensor, norm: nn.LayerNorm, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """s = x + scale * y, and its layer norm (Ba et al. 2016, arXiv 1607.06450).

    x, y: [b, t, d]; norm: with weight and bias, over d. Returns both, each [b, t, d].
    """
    if not infers(x, y, norm.weight, norm.bias):
        return add_norm_reference(x, y, norm, scale=scale)
    return residual_norm(x, y, None, scale, norm.weight[None], norm.bias[None], norm.eps, modulated=False)


def add_norm_reference(x: Tensor, y: Tensor, norm: nn.LayerNorm, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """The same in PyTorch."""
    x = torch.add(x, y, alpha=scale)
    return x, norm(x)


def modulate(x: Tensor, scale: Tensor, shift: Tensor, *, eps: float = 1e-6) -> Tensor:
    """layer_norm(x) * (1 + scale) + shift: adaptive layer norm (Peebles and Xie 2023, arXiv 2212.09748).

    x: [b, t, d]; scale, shift: [1 or b, 1, d]. Returns [b, t, d].
    """
    if not infers(x, scale, shift):
        return modulate_reference(x, scale, shift, eps=eps)
    return residual_norm(x, None, None, 1.0, scale, shift, eps, modulated=True)[1]


def modulate_reference(x: Tensor, scale: Tensor, shift: Tensor, *, eps: float = 1e-6) -> Tensor:
    """The same in PyTorch."""
    return torch.addcmul(shift, layer_norm(x, x.shape[-1:], eps=eps), 1 + scale)


def add_modulate(
    x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, shift: Tensor, *, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """s = x + gate * y, and layer_norm(s) * (1 + scale) + shift: from one branch of a DiT layer to the next.

    x, y: [b, t, d]; gate, scale, shift: [1 or b, 1, d]. Returns both, each [b, t, d].
    """
    if not infers(x, y, gate, scale, shift):
        return add_modulate_reference(x, y, gate, scale, shift, eps=eps)
    return residual_norm(x, y, gate, 1.0, scale, shift, eps, modulated=True)


def add_modulate_reference(
    x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, shift: Tensor, *, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """The same in PyTorch."""
    x = torch.addcmul(x, gate, y)
    return x, modulate_reference(x, scale, shift, eps=eps)


def residual_norm(
    x: Tensor,
    y: Tensor | None,
    gate: Tensor | None,
    factor: float,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    *,
    modulated: bool,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The kernel behind the ops of this file, where kernels run: s = x + factor * gate * (y + bias), or x alone.

    x: [b, t, d]; y: the same, or [parts, b, t, d] in another precision, parts of what is added; gate: [1 or b, 1, d];
    bias: [d]; scale, shift: [1 or b, 1, d] or [1, d]. Returns s and its norm, times `scale`, or 1 + `scale` if
    `modulated`, plus `shift`.
    """
    x = x.contiguous()
    t, d = x.shape[-2:]
    vectors = [v if v is None or v.stride(-1) == 1 else v.contiguous() for v in (gate, scale, shift)]
    strides = [0 if v is None or len(v) == 1 else v.stride(0) for v in vectors]
    total, normed = x if y is None else torch.empty_like(x), torch.empty_like(x)
    channels = triton.next_power_of_2(d)
    _residual_norm_kernel[(x.numel() // d,)](
        x,
        None if y is None else y.contiguous(),
        bias,
        *vectors,
        total,
        normed,
        t,
        d,
        *strides,
        factor,
        eps,
        PARTS=1 if y is None or y.dim() == x.dim() else len(y),
        MODULATED=modulated,
        CHANNELS=channels,
        num_warps=min(max(channels // 256, 1), 8),
    )
    return total, normed


@jit
def _residual_norm_kernel(
    x_ptr,  # [b, t, d]
    y_ptr,  # [PARTS, b, t, d] or none
    bias_ptr,  # [d] or none
    gate_ptr,  # [b, d], as scale and shift; none: 1
    scale_ptr,
    shift_ptr,
    total_ptr,  # [b, t, d]
    normed_ptr,  # [b, t, d]
    t,
    d,
    gate_stride,
    scale_stride,
    shift_stride,
    factor,
    eps,
    PARTS: tl.constexpr,
    MODULATED: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One frame."""
    frame = tl.program_id(0).to(tl.int64)
    row = frame // t
    channel = tl.arange(0, CHANNELS)
    within = channel < d
    at = frame * d + channel
    x = tl.load(x_ptr + at, mask=within, other=0.0).to(tl.float32)
    if y_ptr is not None:
        y = tl.load(y_ptr + at, mask=within, other=0.0).to(tl.float32)
        for part in range(1, PARTS):
            more = y_ptr + part * tl.num_programs(0).to(tl.int64) * d
            y += tl.load(more + at, mask=within, other=0.0).to(tl.float32)
        if bias_ptr is not None:
            y += tl.load(bias_ptr + channel, mask=within, other=0.0).to(tl.float32)
        y *= factor
        if gate_ptr is not None:
            y *= tl.load(gate_ptr + row * gate_stride + channel, mask=within, other=0.0).to(tl.float32)
        total = (x + y).to(total_ptr.dtype.element_ty)
        tl.store(total_ptr + at, total, mask=within)
        x = total.to(tl.float32)  # what is normed is the sum that is handed on
    centred = tl.where(within, x - tl.sum(x, 0) / d, 0.0)
    x = centred * tl.rsqrt(tl.sum(centred * centred, 0) / d + eps)
    scale = tl.load(scale_ptr + row * scale_stride + channel, mask=within, other=0.0).to(tl.float32)
    if MODULATED:
        scale += 1.0
    shift = tl.load(shift_ptr + row * shift_stride + channel, mask=within, other=0.0).to(tl.float32)
    tl.store(normed_ptr + at, x * scale + shift, mask=within)
