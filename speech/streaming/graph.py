"""Steps as CUDA graphs: captured once for a size, then replayed without the cost of launching every kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # passes in which libraries set themselves up


class Graph:
    """A step of one size on a CUDA device, replayed with other inputs.

    step: takes the tensors `data` and `numbers`, which lie on the device and give the sizes, and reads no value of them
    on the host. It is run a few times: with these inputs it must do no harm. pool: of the memory that graphs share
    which are never replayed at once (`torch.cuda.graph_pool_handle`); what one returned is lost when another is
    replayed. Raises what capturing raises where the step does what cannot be captured.
    """

    def __init__(self, step: Callable[[Tensor, Tensor], Any], data: Tensor, numbers: Tensor, pool: Any = None) -> None:
        self._data, self._numbers, device = data, numbers, data.device
        self._graph, side, main = torch.cuda.CUDAGraph(), torch.cuda.Stream(device), torch.cuda.current_stream(device)
        with torch.inference_mode():
            side.wait_stream(main)
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    step(data, numbers)
            main.wait_stream(side)
            with torch.cuda.graph(self._graph, pool=pool):
                self._out = step(data, numbers)

    def replay(self, data: Tensor, numbers: Tensor) -> Any:
        """Inputs of the captured sizes, on any device -> what the step returned, its tensors filled anew each time."""
        self._data.copy_(data, non_blocking=True)
        self._numbers.copy_(numbers, non_blocking=True)
        self._graph.replay()
        return self._out
