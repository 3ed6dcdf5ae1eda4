"""Tools to bring the tensors of public checkpoints under this project's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from speech.errors import SpeechError

GAIN, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"


def renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str], source: str) -> dict[str, Tensor]:
    """Tensors under our names; `names` maps layers, whose parts (weight, bias, ...) keep their names.

    Raises:
        SpeechError: a layer is missing or left over. `source` says in the message what the tensors should be.
    """
    layers = {name.rpartition(".")[0] for name in tensors}
    faults = [f"{name} is missing" for name in names if name not in layers]
    faults += [f"{name} is not known" for name in sorted(layers) if name not in names]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise SpeechError(
            f"expected the layers of {source}, but {', '.join(faults[:3])}{more}: take the file of that model, whole"
        )
    parts = ((name.rpartition("."), tensor) for name, tensor in tensors.items())
    return {f"{names[layer]}.{part}": tensor for (layer, _, part), tensor in parts}


def shape_of(tensors: Mapping[str, Tensor], name: str, dims: int, source: str) -> torch.Size:
    """The shape of one tensor, from which sizes are read.

    Raises:
        SpeechError: it is missing, or has not `dims` dimensions.
    """
    if name not in tensors or tensors[name].dim() != dims or 0 in tensors[name].shape:
        got = f"shape {list(tensors[name].shape)}" if name in tensors else "none"
        raise SpeechError(
            f"expected the tensor {name} of {source} with {dims} dimensions, got {got}: take the file of that model"
        )
    return tensors[name].shape


def count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many different numbers follow `prefix` in the names: how often a numbered layer is there."""
    found = (re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in tensors)
    return len({match[1] for match in found if match})


def joined(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """One `qkv` in place of the layers `q`, `k` and `v` of an attention.

    Raises:
        SpeechError: one of the three is missing, or they are not of one shape.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(.*)\.[qkv]\.(\w+)", name)
        if match is None:
            out[name] = tensor
            continue
        parts = [tensors.get(f"{match[1]}.{x}.{match[2]}", torch.empty(0)) for x in "qkv"]
        shapes = {tuple(part.shape) for part in parts}
        if len(shapes) > 1:
            raise SpeechError(
                f"expected in {source} tensors of one shape for {match[1]}.qkv.{match[2]}, got {sorted(shapes)}: "
                "take the file of that model"
            )
        out.setdefault(f"{match[1]}.qkv.{match[2]}", torch.cat(parts))
    return out


def without_weight_norm(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Plain weights in place of gains g and directions v: w = g v / ||v|| (Salimans and Kingma 2016).

    The norm is over all axes but the first.

    Raises:
        SpeechError: a gain or a direction stands alone, or they do not fit.
    """
    out = dict(tensors)
    for name in [name for name in tensors if name.endswith((GAIN, DIRECTION))]:
        layer = name.removesuffix(GAIN).removesuffix(DIRECTION)
        if f"{layer}weight" in out:
            continue
        gain, direction = (tensors.get(layer + part, torch.empty(0)) for part in (GAIN, DIRECTION))
        if gain.shape != (len(direction), *[1] * (direction.dim() - 1)) or direction.dim() < 2:
            raise SpeechError(
                f"expected the weight of {layer[:-1]} in {source} as a gain and a direction, got shapes "
                f"{list(gain.shape)} and {list(direction.shape)}: take the file of that model, whole"
            )
        length = direction.flatten(1).norm(dim=1).view(gain.shape)
        out[f"{layer}weight"] = gain * direction / length
    return {name: tensor for name, tensor in out.items() if not name.endswith((GAIN, DIRECTION))}
