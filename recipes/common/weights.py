"""Weights in and out of training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recipes.common.callbacks import checkpoints
from speech.errors import SpeechError

log = logging.getLogger(__name__)


def bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's own tensors, without the prefix that the training module gives them."""
    own = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    return own or state


def read_state(source: Path) -> dict[str, Tensor]:
    """The model's tensors from a file with a state dict, or from a training checkpoint. Raises SpeechError without."""
    if not source.is_file():
        raise SpeechError(
            f"expected init_from to name a checkpoint folder or a state dict, {source} is neither: check the path"
        )
    loaded = torch.load(source, map_location="cpu", weights_only=True)
    return bare(loaded.get("state_dict", loaded))


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
