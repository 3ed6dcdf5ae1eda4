"""Vectors in eight bits with a scale each: int8 in even steps, or fp8.

fp8 is e4m3 of Micikevicius et al. 2022 (arXiv 2209.05433). The greatest component of a vector becomes the greatest
number there is. int8 is off by at most 1/254 of that component, fp8 by at most 1/16 of a component itself, the very
small ones aside.
"""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES: dict[str, torch.dtype] = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}

GREATEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
"""The greatest number of each; int8 goes as far down as up."""


def quantised(x: Tensor, dtype: torch.dtype = torch.int8) -> tuple[Tensor, Tensor]:
    """Vectors [..., e], rounded to the nearest in `dtype`, and their scales: [..., e] and [...] float32."""
    x = x.detach().float()
    peak, greatest = x.abs().amax(-1), GREATEST[dtype]
    x = x * (greatest / peak.where(peak > 0, 1))[..., None]
    return ((x + 0.5).floor() if dtype == torch.int8 else x).to(dtype), peak / greatest


def dequantised(codes: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """What vectors of 8 bits stand for. codes: [..., e]; scale: [...]. Returns [..., e]."""
    wide = torch.promote_types(dtype, torch.float32)
    return (codes.to(wide) * scale[..., None]).to(dtype)


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x [..., e] as it comes back from 8 bits, in its own dtype; rounding it once more changes nothing."""
    return dequantised(*quantised(x, dtype), x.dtype)
