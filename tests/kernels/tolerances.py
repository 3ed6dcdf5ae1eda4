"""How far a kernel may be from the same computed in float64: (relative, absolute), by the dtype of its inputs."""

from __future__ import annotations

import torch

TOLERANCES = {
    torch.float32: (1e-5, 1e-5),
    torch.float16: (2e-3, 2e-3),
    torch.bfloat16: (1.6e-2, 1.6e-2),
}
