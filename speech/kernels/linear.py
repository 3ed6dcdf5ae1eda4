"""Linear layers that may be packed for a CPU.

A streaming step multiplies every weight by a handful of rows, so it takes as long as reading the weights does. oneDNN
keeps a weight in blocks that it reads straight through; plain row-major weights go to the BLAS library, which is
slower for 1 to 16 rows, and on AMD processors for any number of rows.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn


class Linear(nn.Linear):
    """`nn.Linear` that can be packed. [..., n] -> [..., m]."""

    def forward(self, input: Tensor) -> Tensor:
        if self.weight.is_mkldnn:
            return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return super().forward(input)


def pack(module: nn.Module) -> None:
    """Lay the float32 weights of all `Linear`s of `module` on a CPU out for oneDNN: in place, and for inference only.

    Names, shapes and, up to rounding, results stay; the module can no longer be trained, saved, copied or moved. On
    other devices, and on other processors than x86, nothing changes.
    """
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return
    for linear in module.modules():
        if not isinstance(linear, Linear) or linear.weight.is_mkldnn:
            continue
        if linear.weight.device.type == "cpu" and linear.weight.dtype == torch.float32:
            packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
            linear.weight = nn.Parameter(packed, requires_grad=False)
