"""One chunk through a depthwise convolution over time and all that stands around it in a Conformer, in one launch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, silu

from speech.kernels.backend import infers, jit, tl, triton

TILE = 2048
"""Outputs that a program computes at a time: what four warps hold in registers beside all they load for it."""


def depthwise_conv(
    x: Tensor,
    outside: Tensor,
    tail: Tensor,
    slots: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    level: Tensor | None = None,
    norm: nn.LayerNorm | nn.BatchNorm1d | None = None,
    activate: bool = False,
) -> Tensor:
    """Gate, depthwise convolution over the cached and the new frames, norm, SiLU; the cache moves on in place.

    silu(norm(bias + sum_k weight[:, k] * seen[i + k])), where `seen` are the k - 1 frames of the cache and then the
    chunk's. Of these, those outside their stream are zero. This is the middle of the convolution module of Gulati et
    al. 2020 (arXiv 2005.08100), and with the defaults any depthwise convolution.

    x: [b, t, d], or [b, t, 2 d], of which the gated linear unit is taken first: x[..., :d] * sigmoid(x[..., d:]).
    outside: [b, t] bool. tail: [slots, k - 1, d], the cache; slots: [b] int64, no two alike. weight: [d, 1, k];
    bias, level: [d]; the level is taken off behind the gate. norm: over the channels of a frame, or with the running
    statistics of each. Returns [b, t, d]. Raises ValueError for shapes that do not fit.
    """
    if not infers(x, tail, weight, bias, level, None if norm is None else norm.weight):
        return depthwise_conv_reference(
            x, outside, tail, slots, weight, bias, level=level, norm=norm, activate=activate
        )
    (d, _, taps), t = weight.shape, x.shape[1]
    if x.shape[-1] not in (d, 2 * d) or tail.shape[1:] != (taps - 1, d) or (taps > 1 and tail.stride()[1:] != (d, 1)):
        raise ValueError(
            f"expected frames of {d} or {2 * d} channels and a cache of rows [{taps - 1}, {d}] without gaps for "
            f"weights {[*weight.shape]}, got {[*x.shape]} and {[*tail.shape]} of strides {[*tail.stride()]}"
        )
    y = x.new_empty(len(x), t, d)
    over_frame = isinstance(norm, nn.LayerNorm)
    channels = triton.next_power_of_2(d if over_frame else min(d, 128))
    kept = triton.next_power_of_2(max(taps - 1, 1))
    frames = min(triton.next_power_of_2(t), max(TILE // channels, 1))
    _depthwise_conv_kernel[len(x), triton.cdiv(d, channels)](
        x.contiguous(),
        outside.contiguous().view(torch.uint8),
        tail,
        slots,
        weight,
        bias,
        level,
        *_numbers(norm),
        y,
        t,
        d,
        tail.stride(0),
        TAPS=taps,
        GATED=x.shape[-1] != d,
        OVER_FRAME=over_frame,
        ACTIVATE=activate,
        KEPT=kept,
        FRAMES=frames,
        BLOCKS=triton.cdiv(t, frames),
        CHANNELS=channels,
        num_warps=min(max(kept * channels // 1024, 4), 16),
    )
    return y


def depthwise_conv_reference(
    x: Tensor,
    outside: Tensor,
    tail: Tensor,
    slots: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    level: Tensor | None = None,
    norm: nn.LayerNorm | nn.BatchNorm1d | None = None,
    activate: bool = False,
) -> Tensor:
    """The same in PyTorch. A sum of products: for a few frames that takes less than a convolution's setting up."""
    x = glu(x, -1) if x.shape[-1] != len(weight) else x
    x = x if level is None else x - level
    new = x.masked_fill(outside[..., None], 0.0).to(tail.dtype)
    seen = torch.cat([tail.index_select(0, slots), new], 1)
    tail[slots] = seen[:, x.shape[1] :]
    windows = seen.unfold(1, weight.shape[2], 1).transpose(2, 3)  # [b, t, k, d]
    y = (windows * weight[:, 0].t().contiguous()).sum(2)
    y = y if bias is None else y + bias
    if norm is not None:
        y = norm(y) if isinstance(norm, nn.LayerNorm) else norm(y.flatten(0, 1)).view_as(y)
    return silu(y) if activate else y


def _numbers(norm: nn.LayerNorm | nn.BatchNorm1d | None) -> tuple[float, *tuple[Tensor | None, ...]]:
    """Epsilon, weight, bias, running mean and running variance, as far as there are."""
    if norm is None:
        return 0.0, None, None, None, None
    batch = isinstance(norm, nn.BatchNorm1d)
    return norm.eps, norm.weight, norm.bias, norm.running_mean if batch else None, norm.running_var if batch else None


@jit
def _seen(x_ptr, outside_ptr, tail_ptr, level, index, channel, t, d, TAPS: tl.constexpr, GATED: tl.constexpr):
    """Frames by their place behind the start of the cache, rounded as it keeps them. index: [f] -> [f, channels]."""
    new = index - (TAPS - 1)
    within = (channel < d)[None, :]
    cached = (index < TAPS - 1)[:, None] & within
    old = tl.load(tail_ptr + index[:, None] * d + channel[None, :], mask=cached, other=0.0)
    fresh = (new >= 0) & (new < t)
    fresh = fresh & (tl.load(outside_ptr + new, mask=fresh, other=1) == 0)
    mask = fresh[:, None] & within
    if GATED:
        at = x_ptr + new[:, None] * (2 * d) + channel[None, :]
        x = tl.load(at, mask=mask, other=0.0).to(tl.float32)
        x = x * tl.sigmoid(tl.load(at + d, mask=mask, other=0.0).to(tl.float32))
    else:
        x = tl.load(x_ptr + new[:, None] * d + channel[None, :], mask=mask, other=0.0).to(tl.float32)
    x = tl.where(mask, x - level[None, :], 0.0)
    return old.to(tl.float32) + x.to(old.dtype).to(tl.float32)


@jit
def _channels(ptr, channel, d, default: tl.constexpr):
    """A number for every channel, in float32; without a pointer the default."""
    if ptr is None:
        numbers = tl.full(channel.shape, default, tl.float32)
    else:
        numbers = tl.load(ptr + channel, mask=channel < d, other=0.0).to(tl.float32)
    return numbers


@jit
def _depthwise_conv_kernel(
    x_ptr,  # [b, t, d or 2 d]
    outside_ptr,  # [b, t]
    tail_ptr,  # [slots, TAPS - 1, d]
    slots_ptr,  # [b]
    weight_ptr,  # [d, TAPS]
    bias_ptr,
    level_ptr,
    eps,
    gamma_ptr,
    beta_ptr,
    mean_ptr,
    var_ptr,
    y_ptr,  # [b, t, d]
    t,
    d,
    tail_stride,
    TAPS: tl.constexpr,
    GATED: tl.constexpr,
    OVER_FRAME: tl.constexpr,
    ACTIVATE: tl.constexpr,
    KEPT: tl.constexpr,
    FRAMES: tl.constexpr,
    BLOCKS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """All frames of one stream for a block of channels: no other program reads or writes its part of the cache."""
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    x_ptr += row * t * d * (2 if GATED else 1)
    y_ptr += row * t * d
    outside_ptr += row * t
    tail_ptr += tl.load(slots_ptr + row) * tail_stride
    within = (channel < d)[None, :]
    level = _channels(level_ptr, channel, d, 0.0)
    bias = _channels(bias_ptr, channel, d, 0.0)
    gamma = _channels(gamma_ptr, channel, d, 1.0)
    beta = _channels(beta_ptr, channel, d, 0.0)
    mean = _channels(mean_ptr, channel, d, 0.0)[None, :]
    if mean_ptr is not None:
        gamma *= tl.rsqrt(_channels(var_ptr, channel, d, 1.0) + eps)

    for block in range(BLOCKS):
        frame = block * FRAMES + tl.arange(0, FRAMES)
        y = tl.zeros([FRAMES, CHANNELS], tl.float32) + bias[None, :]
        for tap in tl.static_range(TAPS):  # unrolled, so that the loads do not wait for one another
            weight = tl.load(weight_ptr + channel * TAPS + tap, mask=channel < d, other=0.0).to(tl.float32)
            y += weight[None, :] * _seen(x_ptr, outside_ptr, tail_ptr, level, frame + tap, channel, t, d, TAPS, GATED)
        if OVER_FRAME:
            centred = tl.where(within, y - tl.sum(y, 1)[:, None] / d, 0.0)
            y = centred * tl.rsqrt(tl.sum(centred * centred, 1)[:, None] / d + eps)
        y = (y - mean) * gamma[None, :] + beta[None, :]
        if ACTIVATE:
            y = y * tl.sigmoid(y)
        tl.store(y_ptr + frame[:, None] * d + channel[None, :], y, mask=(frame < t)[:, None] & within)

    kept = tl.arange(0, KEPT)
    seen = _seen(x_ptr, outside_ptr, tail_ptr, level, kept + t, channel, t, d, TAPS, GATED)
    tl.debug_barrier()  # all threads have read the cache before any of them writes it
    tl.store(tail_ptr + kept[:, None] * d + channel[None, :], seen, mask=(kept < TAPS - 1)[:, None] & within)
