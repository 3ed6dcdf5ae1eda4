"""One chunk of an inverse short-time Fourier transform behind the transform itself, in one launch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import fold

from speech.kernels.backend import infers, jit, tl, triton

SMALLEST = 1e-11
"""A sum of squared windows that is not above it counts as no window at all."""

BLOCK = 256


def overlap_add(x: Tensor, valid: Tensor, window: Tensor, hop: int, sums: Tensor, slots: Tensor) -> Tensor:
    """Windowed frames, summed where they overlap, over the sum of the squared windows of the frames there are.

    Griffin and Lim 1984, eq. 6. The sums of samples that later frames touch too are kept and move on in place.

    x: [b, t, n], frames of samples, not windowed yet. valid: [b, t] bool: the frames inside their stream; the samples
    of the others are zero. window: [n]. sums: [slots, n - hop, 2], of samples and of squared windows; slots: [b] int64,
    no two alike. Returns the samples that are final, [b, t * hop]. Raises ValueError for shapes that do not fit.
    """
    if not infers(x, window, sums):
        return overlap_add_reference(x, valid, window, hop, sums, slots)
    (b, t, n), kept = x.shape, x.shape[2] - hop
    if window.shape != (n,) or sums.shape[1:] != (kept, 2) or (kept and sums.stride()[1:] != (2, 1)):
        raise ValueError(
            f"expected a window [{n}] and sums of rows [{kept}, 2] without gaps for frames of {n} samples and hop "
            f"{hop}, got {[*window.shape]} and {[*sums.shape]} of strides {[*sums.stride()]}"
        )
    y = x.new_empty(b, t * hop)
    amid = max(t * hop - kept, 0)
    _overlap_add_kernel[b, 1 + triton.cdiv(amid, BLOCK)](
        x.contiguous(),
        valid.contiguous().view(torch.uint8),
        window,
        sums,
        slots,
        y,
        t,
        sums.stride(0),
        SMALLEST,
        N=n,
        HOP=hop,
        HEADS=triton.cdiv(min(kept, t * hop), BLOCK),
        TAILS=triton.cdiv(kept, BLOCK),
        BLOCK=BLOCK,
    )
    return y


def overlap_add_reference(x: Tensor, valid: Tensor, window: Tensor, hop: int, sums: Tensor, slots: Tensor) -> Tensor:
    """The same in PyTorch."""
    final = x.shape[1] * hop
    total = window_sums(x, valid, window, hop)
    total[:, : sums.shape[1]] += sums[slots]
    sums[slots] = total[:, final:].to(sums.dtype)
    return over_windows(total[:, :final])


def window_sums(x: Tensor, valid: Tensor, window: Tensor, hop: int) -> Tensor:
    """Overlapped sums of windowed samples and of squared windows. [b, t, n] -> [b, (t - 1) * hop + n, 2]."""
    columns = torch.cat([x * window, valid[..., None] * window.square()], 2).transpose(1, 2)
    size = (1, (x.shape[1] - 1) * hop + x.shape[2])
    return fold(columns, size, (1, x.shape[2]), stride=(1, hop))[:, :, 0].transpose(1, 2)


def over_windows(sums: Tensor) -> Tensor:
    """Samples from sums of windowed samples and of squared windows. [b, n, 2] -> [b, n]."""
    x, weight = sums.unbind(2)
    return x / torch.where(weight > SMALLEST, weight, 1.0)


@jit
def _summed(x_ptr, valid_ptr, window_ptr, at, mask, t, N: tl.constexpr, HOP: tl.constexpr, BLOCK: tl.constexpr):
    """What the chunk's frames add at its samples `at`: windowed samples and squared windows."""
    samples, weights = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for ago in tl.static_range((N + HOP - 1) // HOP):
        frame, place = at // HOP - ago, at % HOP + ago * HOP
        touched = mask & (frame >= 0) & (frame < t) & (place < N)
        window = tl.load(window_ptr + place, mask=touched, other=0.0).to(tl.float32)
        valid = tl.load(valid_ptr + frame, mask=touched, other=0) != 0
        samples += window * tl.load(x_ptr + frame * N + place, mask=touched, other=0.0).to(tl.float32)
        weights += tl.where(valid, window * window, 0.0)
    return samples, weights


@jit
def _overlap_add_kernel(
    x_ptr,  # [b, t, N]
    valid_ptr,  # [b, t]
    window_ptr,  # [N]
    sums_ptr,  # [slots, N - HOP, 2]
    slots_ptr,  # [b]
    y_ptr,  # [b, t * HOP]
    t,
    sums_stride,
    smallest,
    N: tl.constexpr,
    HOP: tl.constexpr,
    HEADS: tl.constexpr,
    TAILS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The samples before `N - HOP`, which add kept sums, and the sums to keep; or a block of the samples amid them.

    So one program alone reads and writes what is kept of a stream.
    """
    KEPT: tl.constexpr = N - HOP
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    x_ptr += row * t * N
    valid_ptr += row * t
    y_ptr += row * t * HOP
    sums_ptr += tl.load(slots_ptr + row) * sums_stride
    final = t * HOP
    lane = tl.arange(0, BLOCK)
    if part > 0:
        at = KEPT + (part - 1) * BLOCK + lane
        samples, weights = _summed(x_ptr, valid_ptr, window_ptr, at, at < final, t, N, HOP, BLOCK)
        tl.store(y_ptr + at, samples / tl.where(weights > smallest, weights, 1.0), mask=at < final)
    else:
        for block in range(HEADS):
            at = block * BLOCK + lane
            mask = (at < KEPT) & (at < final)
            samples, weights = _summed(x_ptr, valid_ptr, window_ptr, at, mask, t, N, HOP, BLOCK)
            samples += tl.load(sums_ptr + 2 * at, mask=mask, other=0.0).to(tl.float32)
            weights += tl.load(sums_ptr + 2 * at + 1, mask=mask, other=0.0).to(tl.float32)
            tl.store(y_ptr + at, samples / tl.where(weights > smallest, weights, 1.0), mask=mask)
        for block in range(TAILS):
            kept = block * BLOCK + lane
            at, old = kept + final, (kept + final) < KEPT
            samples, weights = _summed(x_ptr, valid_ptr, window_ptr, at, kept < KEPT, t, N, HOP, BLOCK)
            samples += tl.load(sums_ptr + 2 * at, mask=old, other=0.0).to(tl.float32)
            weights += tl.load(sums_ptr + 2 * at + 1, mask=old, other=0.0).to(tl.float32)
            tl.debug_barrier()  # what is written here was read, in this block or before; what is read later lies behind
            tl.store(sums_ptr + 2 * kept, samples, mask=kept < KEPT)
            tl.store(sums_ptr + 2 * kept + 1, weights, mask=kept < KEPT)
