"""Whether a kernel without a derivative may stand for its reference."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.kernels.backend import launches


def infers(x: Tensor, *others: Tensor | None) -> bool:
    """Whether Triton runs where x lies, nothing is differentiated, and float32 is as wide as these tensors want.

    Forward-mode derivatives and batching (`torch.func`) wrap tensors in what no kernel can read.
    """
    if not launches(x) or torch._C._are_functorch_transforms_active():
        return False
    given = [x, *(y for y in others if y is not None)]
    recorded = torch.is_grad_enabled() and any(y.requires_grad for y in given)
    return not recorded and all(y.dtype != torch.float64 for y in given)
