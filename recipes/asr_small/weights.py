"""Weights in and out of training: starting points, and the averaged model of the newest checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from recipes.asr_small.optim import loss_weights
from recipes.asr_small.settings import Settings
from recipes.common.weights import newest, put, read_state
from speech.asr.model import FastConformer
from speech.errors import SpeechError


def start_from(model: FastConformer, source: Path) -> None:
    """Load weights only; `weights_file` says from where. Heads that they lack stay as they are.

    Raises SpeechError when it is not there, or its encoder is not the configured one.
    """
    put(model, read_state(source), source, ("encoder.", "mel."))


def trained(settings: Settings) -> tuple[FastConformer, dict[str, Any]]:
    """The averaged model of the newest checkpoint, for evaluation, and what the checkpoint says of its making.

    With no checkpoint, the weights of `init_from`. Raises SpeechError when there are neither.
    """
    model = FastConformer(settings.model)
    found = newest(settings.checkpoints)
    if found:
        state, position = found
        model.load_state_dict(state)
        last = max(position["steps"] - 1, 0)
        transducer = loss_weights(last, settings.optim)["transducer"] > 0  # has had a step of its own
        return _heads(model, settings, transducer).eval(), position
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
