"""Triton where it is installed, and whether its kernels are to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # a CPU does not need it
    triton = tl = None

__all__ = ["interpreted", "jit", "launches", "tl", "triton"]

_INTERPRETED: ContextVar[bool] = ContextVar("interpreted", default=False)


def jit(kernel: Callable[..., Any]) -> Any:
    """`triton.jit`, or the function itself where there is no Triton and nothing will launch it."""
    return kernel if triton is None else triton.jit(kernel)


def launches(*tensors: Tensor) -> bool:
    """Whether Triton kernels run on these tensors: all lie on a CUDA device, or kernels are being interpreted."""
    return triton is not None and (_INTERPRETED.get() or all(x.is_cuda for x in tensors))


@contextmanager
def interpreted() -> Iterator[None]:
    """Within it kernels run on the CPU too, by Triton's interpreter: slow, for tests.

    Raises RuntimeError unless Triton was told to interpret before the kernels were imported.
    """
    if triton is None or not triton.knobs.runtime.interpret:  # type: ignore[attr-defined]
        raise RuntimeError("expected Triton's interpreter, got none: set TRITON_INTERPRET=1 before the start")
    token = _INTERPRETED.set(True)
    try:
        yield
    finally:
        _INTERPRETED.reset(token)
