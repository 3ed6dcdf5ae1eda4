"""Linear layers and LSTM cells that may be packed for a CPU.

A streaming step multiplies every weight by a handful of rows, so it takes as long as reading the weights does. oneDNN
keeps a weight in blocks that it reads straight through; plain row-major weights go to the BLAS library, which is
slower for 1 to 16 rows, and on AMD processors for any number of rows.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


class Linear(nn.Linear):
    """`nn.Linear` that can be packed. [..., n] -> [..., m].

    A packed one is saved, copied, moved and loaded as a plain one is: what leaves it, and what it becomes on another
    device or in another precision, is row-major.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _packed_linear(input, self.weight, self.bias) if self.weight.is_mkldnn else super().forward(input)

    def unpack(self) -> None:
        """Lay the weight out row-major again, ready to be trained."""
        if self.weight.is_mkldnn:
            self.weight = nn.Parameter(self.weight.to_dense())

    def __getstate__(self) -> dict[str, Any]:
        parameters = {name: _plain(x) for name, x in self._parameters.items()}
        return {**self.__dict__, "_parameters": parameters}

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not keep_vars:  # those who keep variables share them
            destination[f"{prefix}weight"] = _plain(destination[f"{prefix}weight"])

    def _load_from_state_dict(self, state_dict: dict[str, Any], *rest: Any) -> None:
        self.unpack()
        super()._load_from_state_dict(state_dict, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linear:
        like = fn(torch.empty(0))
        if self.weight.is_mkldnn and (like.device.type, like.dtype) == ("cpu", torch.float32):
            return self  # it is there already
        self.unpack()
        return super()._apply(fn, recurse)


class LSTM(nn.LSTM):
    """`nn.LSTM` that also steps by cells, which can be packed.

    Packing adds a copy of the weights; whoever moves, copies or loads the layer leaves it behind.
    """

    _cells: tuple[tuple[Tensor, Tensor], ...] = ()  # packed input and recurrent weights of every layer

    def cell(self, layer: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step of one layer. x: [b, n]; h, c: [b, d] -> the new h, c.

        On a CPU, for one step, this is several times faster than the sequence kernel.
        """
        names = (f"{name}_l{layer}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        weights = tuple(getattr(self, name) for name in names)
        if not self._cells:
            return torch.lstm_cell(x, (h, c), *weights)
        ih, hh = self._cells[layer]
        gates = _packed_linear(x, ih, weights[2]) + _packed_linear(h, hh, weights[3])
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def pack(self) -> None:
        """Make the packed copy, for the weights as they are now."""
        layers = ((f"weight_ih_l{i}", f"weight_hh_l{i}") for i in range(self.num_layers))
        self._cells = tuple((_packed(getattr(self, ih)), _packed(getattr(self, hh))) for ih, hh in layers)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cells": ()}

    def _load_from_state_dict(self, state_dict: dict[str, Any], *rest: Any) -> None:
        self._cells = ()
        super()._load_from_state_dict(state_dict, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LSTM:
        like = fn(torch.empty(0))
        if (like.device.type, like.dtype) != ("cpu", torch.float32):
            self._cells = ()
        return super()._apply(fn, recurse)


def _packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x: [..., n] -> [..., m].

    For every number of rows that a shape of weights meets, oneDNN and what lies above it keep half a MiB each, of the
    last 1024 of them. So numbers of rows are rounded up, that they are few.
    """
    rows = x.shape[:-1].numel()
    more = padded_rows(rows) - rows
    if not more:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    filled = pad(x.reshape(rows, -1), (0, 0, 0, more))
    return torch.ops.mkldnn._linear_pointwise(filled, weight, bias, "none", [], "")[:rows].view(*x.shape[:-1], -1)


def padded_rows(rows: int) -> int:
    """The next number that is at most 8, or of which there are four between a power of two and the next."""
    step = 1 << max((rows - 1).bit_length() - 3, 0)
    return -(-rows // step) * step


def _packed(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach())


def _plain(x: Any) -> Any:
    """A packed tensor or parameter as a row-major one of the same kind; anything else as it is."""
    if not (isinstance(x, Tensor) and x.is_mkldnn):
        return x
    return nn.Parameter(x.to_dense(), x.requires_grad) if isinstance(x, nn.Parameter) else x.to_dense()


def pack(module: nn.Module) -> None:
    """Lay the float32 weights of all `Linear`s and `LSTM`s of `module` on a CPU out for oneDNN: for inference only.

    Names, shapes and, up to rounding, results stay; the module can no longer be trained. On other devices, and on
    other processors than x86, nothing changes.
    """
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return
    for layer in module.modules():
        if not isinstance(layer, Linear | LSTM):
            continue
        weight = layer.get_parameter("weight" if isinstance(layer, Linear) else "weight_ih_l0")
        if weight.is_mkldnn or weight.device.type != "cpu" or weight.dtype != torch.float32:
            continue
        if isinstance(layer, Linear):
            layer.weight = nn.Parameter(_packed(weight), requires_grad=False)
        else:
            layer.pack()
