"""What tests of kernels share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch


@pytest.fixture
def device() -> Iterator[torch.device]:
    """A card where there is one; otherwise the CPU, on which kernels are interpreted for the time of a test."""
    pytest.importorskip("triton", reason="triton is not installed")
    if torch.cuda.is_available():
        yield torch.device("cuda")
        return
    from speech.kernels.backend import interpreted  # not above: Triton must be told to interpret before it is imported

    with interpreted():
        yield torch.device("cpu")


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is not filled holds NaN (integers: the lowest), so that what a kernel leaves out shows."""
    for name in ("empty", "empty_like"):
        _poison(monkeypatch, torch, name)
    _poison(monkeypatch, torch.Tensor, "new_empty")


def _poison(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    plain = getattr(owner, name)

    def filled(*args: Any, **kwargs: Any) -> torch.Tensor:
        x = plain(*args, **kwargs)
        return x.fill_(float("nan") if x.is_floating_point() else x.dtype == torch.bool or torch.iinfo(x.dtype).min)

    monkeypatch.setattr(owner, name, filled)
