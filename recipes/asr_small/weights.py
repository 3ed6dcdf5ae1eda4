"""Weights in and out of training: starting points, and the averaged model of the newest checkpoint."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recipes.asr_small.callbacks import checkpoints
from recipes.asr_small.optim import loss_weights
from recipes.asr_small.settings import Settings
from speech.asr.model import FastConformer
from speech.errors import SpeechError
from speech.hub.checkpoint import load_folder

log = logging.getLogger(__name__)


def start_from(model: FastConformer, source: Path) -> None:
    """Load weights only, from a checkpoint folder or a file with a state dict. Heads that it lacks stay as they are.

    Raises SpeechError when it is not there, or its encoder is not the configured one.
    """
    if source.is_dir():
        state = load_folder(source).model.state_dict()
    elif source.is_file():
        loaded = torch.load(source, map_location="cpu", weights_only=True)
        state = _bare(loaded.get("state_dict", loaded))
    else:
        raise SpeechError(
            f"expected init_from to name a checkpoint folder or a state dict, {source} is neither: check the path"
        )
    try:
        report = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise SpeechError(f"expected weights of the configured model in {source}: {error}") from error
    missing = [name for name in report.missing_keys if name.startswith(("encoder.", "mel."))]
    if missing or report.unexpected_keys:
        raise SpeechError(
            f"expected weights of the configured model in {source}; missing {missing[:3]}, unknown"
            f" {report.unexpected_keys[:3]}: choose the model=... it was trained with"
        )
    log.info(
        "started from %s; not in it: %s", source, sorted({n.split(".")[0] for n in report.missing_keys}) or "nothing"
    )


def trained(settings: Settings) -> tuple[FastConformer, dict[str, Any]]:
    """The averaged model of the newest checkpoint, for evaluation, and what the checkpoint says of its making.

    With no checkpoint, the weights of `init_from`. Raises SpeechError when there are neither.
    """
    model = FastConformer(settings.model)
    found = checkpoints(settings.checkpoints)
    if found:
        checkpoint = torch.load(found[0], map_location="cpu", weights_only=True)
        model.load_state_dict(_bare(checkpoint["state_dict"]))
        steps = checkpoint["global_step"]
        transducer = loss_weights(max(steps - 1, 0), settings.optim)["transducer"] > 0  # has had a step of its own
        return _heads(model, settings, transducer).eval(), {"steps": steps, **checkpoint["position"]}
    if not settings.raw.init_from:
        raise SpeechError(f"expected a checkpoint in {settings.checkpoints}, found none: run stage=train first")
    start_from(model, Path(settings.raw.init_from))
    return _heads(model, settings, settings.optim.transducer_weight > 0).eval(), {
        "steps": 0,
        "batches": 0,
        "audio_hours": 0.0,
        "hardware": "unknown hardware",
    }


def _heads(model: FastConformer, settings: Settings, transducer: bool) -> FastConformer:
    """The model with those heads only that the loss had a weight for."""
    weight, config = settings.optim.transducer_weight, settings.model
    kept = FastConformer(
        replace(config, ctc=config.ctc and weight < 1, prediction=config.prediction if transducer else None)
    )
    names = kept.state_dict().keys()
    kept.load_state_dict({name: value for name, value in model.state_dict().items() if name in names})
    return kept


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's own tensors, without the prefix that the training module gives them."""
    own = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    return own or state
