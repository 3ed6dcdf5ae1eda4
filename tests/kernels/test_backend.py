"""Where kernels run, and where PyTorch's operations do."""

from __future__ import annotations

import torch

from speech.kernels.backend import infers, launches, unfused


def test_kernels_run_where_they_are_wanted(device: torch.device) -> None:
    x = torch.zeros(1, device=device)
    assert launches(x) and infers(x)
    with unfused():
        assert not launches(x) and not infers(x)
    assert launches(x) and infers(x)
