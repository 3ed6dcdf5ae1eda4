"""Weights in and out of training."""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recipes.common.callbacks import checkpoints
from speech.errors import SpeechError
from speech.hub.checkpoint import WEIGHTS

log = logging.getLogger(__name__)


def bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's own tensors, without the prefix that the training module gives them."""
    own = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    return own or state


def weights_file(source: Path) -> Path:
    """The file that `init_from` stands for: a file itself, the newest checkpoint of a training, or a model's weights.

    source: a file; a folder of training checkpoints, or the one that holds it; a folder that a stage `export` wrote.
    Raises SpeechError for anything else.
    """
    if source.is_file():
        return source
    found = checkpoints(source) or checkpoints(source / "checkpoints")
    if found:
        return found[0]
    if (source / WEIGHTS).is_file():
        return source / WEIGHTS
    raise SpeechError(
        f"expected init_from to name a file of weights, or a folder with checkpoints of a training or with a model, "
        f"{source} is neither: check the path"
    )


def read_state(source: Path, *names: str) -> dict[str, Tensor]:
    """The model's tensors from what `weights_file` finds, averaged ones where there are.

    names: what a part may be called inside a whole model, of which its tensors alone are given. Raises SpeechError
    where there is no such file, and for one that holds no weights.
    """
    file = weights_file(source)
    loaded: dict[str, Any]
    try:
        loaded = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise SpeechError(f"expected weights in {file}, but it is damaged or holds something else") from error
    state = loaded.get("state_dict", loaded)
    for name in names:
        part = {key.removeprefix(f"{name}."): x for key, x in state.items() if key.startswith(f"{name}.")}
        if part:
            return part
    return bare(state)


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The averaged tensors of the newest checkpoint in a folder, and `steps` with its position; None without one."""
    found = checkpoints(folder)
    if not found:
        return None
    checkpoint = torch.load(found[0], map_location="cpu", weights_only=True)
    return bare(checkpoint["state_dict"]), {"steps": checkpoint["global_step"], **checkpoint["position"]}


def put(model: nn.Module, state: dict[str, Tensor], source: Path, needed: tuple[str, ...]) -> None:
    """Load tensors by name; parts of the model that `state` lacks stay as they are, but for those in `needed`.

    needed: beginnings of names; "" is all. Raises SpeechError when the tensors are not of the configured model.
    """
    try:
        report = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise SpeechError(f"expected weights of the configured model in {source}: {error}") from error
    missing = [name for name in report.missing_keys if name.startswith(needed)]
    if missing or report.unexpected_keys:
        raise SpeechError(
            f"expected weights of the configured model in {source}; missing {missing[:3]}, unknown"
            f" {report.unexpected_keys[:3]}: choose the model=... it was trained with"
        )
    log.info(
        "started from %s; not in it: %s", source, sorted({n.split(".")[0] for n in report.missing_keys}) or "nothing"
    )
