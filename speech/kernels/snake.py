"""The snake activation of vocoders, with the bias of the convolution before it, in one launch."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.kernels.backend import infers, jit, tl, triton

BLOCK = 1024


def snake(x: Tensor, alpha: Tensor, bias: Tensor | None = None) -> Tensor:
    """y + sin(alpha y)^2 / alpha with y = x + bias (Ziyin et al. 2020, arXiv 2006.08195).

    x: [b, t, d]; alpha, bias: [d]. Returns [b, t, d], in x's order of memory where that is frame by frame, or channel
    by channel, as PyTorch's convolutions leave it.
    """
    if not infers(x, alpha, bias):
        return snake_reference(x, alpha, bias)
    by_channel = not x.is_contiguous() and x.transpose(1, 2).is_contiguous()
    x = x if by_channel else x.contiguous()
    y = torch.empty_like(x)
    _snake_kernel[(triton.cdiv(x.numel(), BLOCK),)](
        x, alpha, bias, y, x.numel(), x.shape[2], x.shape[1] if by_channel else 1, BLOCK=BLOCK
    )
    return y


def snake_reference(x: Tensor, alpha: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same in PyTorch."""
    x = x if bias is None else x + bias
    sine = (x * alpha).sin()
    return torch.addcmul(x, sine * sine, (alpha + 1e-9).reciprocal())


@jit
def _snake_kernel(x_ptr, alpha_ptr, bias_ptr, y_ptr, count, d, run, BLOCK: tl.constexpr):
    """A block of numbers as they lie in memory, `run` of one channel in a row."""
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    at = begin + lane
    mask = at < count
    channel = ((begin % (run * d)).to(tl.int32) + lane) // run % d  # 64-bit divisions would take longer than all else
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        x += tl.load(bias_ptr + channel, mask=mask, other=0.0).to(tl.float32)
    alpha = tl.load(alpha_ptr + channel, mask=mask, other=1.0).to(tl.float32)
    sine = tl.sin(alpha * x)
    tl.store(y_ptr + at, x + sine * sine / (alpha + 1e-9), mask=mask)
