"""What a CUDA graph does, on a CPU: operations are recorded once, then repeated on the very same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from speech.streaming.graph import WARM_UP

aten = torch.ops.aten

ASKING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Tags of operations whose result, or its shape, the host waits for: a capture breaks off at them."""

INDEXING = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)
"""They are waited for where an index is a mask, and only there."""


class Recorder(TorchDispatchMode):
    """Within it every operation on tensors goes to `taken`. Raises RuntimeError for one that no graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if _asks(func, args):
            raise RuntimeError(f"{func} asks the device for a value")
        if func is aten.lift_fresh.default and args[0].dim():  # a single number is an argument of the kernel
            raise RuntimeError("values of the host are copied to the device")
        out = func(*args, **(kwargs or {}))
        self.taken.append((func, args, kwargs or {}, out))
        return out


def _asks(func: Any, args: tuple[Any, ...]) -> bool:
    if func in INDEXING:
        return any(isinstance(x, Tensor) and x.dtype == torch.bool for x in tree_leaves(args[1]))
    return func is aten.is_nonzero.default or bool(ASKING & {*func.tags})


class Tape:
    """Stands in for `Graph` where there is no card: as there, all that Python decided in a step is decided for ever."""

    def __init__(self, step: Callable[[Tensor, Tensor], Any], data: Tensor, numbers: Tensor, pool: Any = None) -> None:
        self._data, self._numbers = data, numbers
        with torch.inference_mode():
            for _ in range(WARM_UP):
                step(data, numbers)
            with Recorder() as recorder:
                self._out = step(data, numbers)
        self._taken = recorder.taken

    @torch.inference_mode()
    def replay(self, data: Tensor, numbers: Tensor) -> Any:
        """As of `Graph`."""
        self._data.copy_(data)
        self._numbers.copy_(numbers)
        for func, args, kwargs, out in self._taken:
            for kept, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(kept, Tensor) and kept.data_ptr() != new.data_ptr():  # else a view, or written in place
                    kept.copy_(new)
        return self._out
