"""Triton where it is installed, and whether its kernels are to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # a CPU does not need it
    triton = tl = None

__all__ = ["infers", "interpreted", "jit", "launches", "tl", "triton", "unfused"]

_WANTED: ContextVar[bool | None] = ContextVar("wanted", default=None)
"""Whether kernels run: wherever tensors lie, nowhere, or (None) on a CUDA device."""


def jit(kernel: Callable[..., Any]) -> Any:
    """`triton.jit`, or the function itself where there is no Triton and nothing will launch it."""
    return kernel if triton is None else triton.jit(kernel)


def launches(*tensors: Tensor) -> bool:
    """Whether Triton kernels run on these tensors: all lie on a CUDA device, or kernels are being interpreted."""
    wanted = _WANTED.get()
    return triton is not None and (all(x.is_cuda for x in tensors) if wanted is None else wanted)


def infers(x: Tensor, *others: Tensor | None) -> bool:
    """Whether Triton runs where x lies, nothing is differentiated, and float32 is as wide as these tensors want.

    Forward-mode derivatives and batching (`torch.func`) wrap tensors in what no kernel can read.
    """
    if not launches(x) or torch._C._are_functorch_transforms_active():
        return False
    given = [x, *(y for y in others if y is not None)]
    recorded = torch.is_grad_enabled() and any(y.requires_grad for y in given)
    return not recorded and all(y.dtype != torch.float64 for y in given)


@contextmanager
def interpreted() -> Iterator[None]:
    """Within it kernels run on the CPU too, by Triton's interpreter: slow, for tests.

    Raises RuntimeError unless Triton was told to interpret before the kernels were imported.
    """
    if triton is None or not triton.knobs.runtime.interpret:  # type: ignore[attr-defined]
        raise RuntimeError("expected Triton's interpreter, got none: set TRITON_INTERPRET=1 before the start")
    with _within(True):
        yield


@contextmanager
def unfused() -> Iterator[None]:
    """Within it PyTorch's own operations run, on a CUDA device too: what a step with kernels is measured against."""
    with _within(False):
        yield


@contextmanager
def _within(wanted: bool) -> Iterator[None]:
    token = _WANTED.set(wanted)
    try:
        yield
    finally:
        _WANTED.reset(token)
