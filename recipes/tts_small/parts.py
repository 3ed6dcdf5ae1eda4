"""The parts of the synthesiser in training, and trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch import seed_everything
from torch import nn

from recipes.common.callbacks import checkpoints
from recipes.common.optim import AdamWConfig, adamw
from recipes.common.settings import BaseSettings
from recipes.common.training import Resumable, fit, make_trainer
from recipes.common.weights import newest, put, read_state
from recipes.tts_small.pools import Numbered
from speech.errors import SpeechError

log = logging.getLogger(__name__)
M = TypeVar("M", bound=nn.Module)


class Part(Resumable):
    """A part of the synthesiser in training by AdamW; `model` is what checkpoints are read for."""

    def __init__(self, model: Any, optim: AdamWConfig) -> None:
        super().__init__(model.config)
        self.model, self.optim = model, optim

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer, schedule = adamw(self.parameters(), self.optim)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(settings: BaseSettings, name: str, module: Resumable, data: Numbered, optim: AdamWConfig) -> None:
    """Train until `<name>.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    seed_everything(settings.raw.seed, verbose=False)
    folder, source = settings.part(name), settings.raw[name].init_from
    found = checkpoints(folder / "checkpoints")
    if found:
        log.info("%s: going on from %s", name, found[0])
    elif source:
        put(module.get_submodule("model"), read_state(Path(source)), Path(source), ("",))
    more = {"gradient_clip_val": optim.clip} if module.automatic_optimization else {}
    trainer = make_trainer(settings.raw.trainer, optim, folder, validate=data.held_out is not None, **more)
    fit(trainer, module, data, found[0] if found else None)


def trained(settings: BaseSettings, name: str, model: M) -> tuple[M, dict[str, Any]]:
    """`model` with the averaged weights of the newest checkpoint, in evaluation mode, and `steps` with its position.

    Raises SpeechError without a checkpoint.
    """
    folder = settings.part(name) / "checkpoints"
    found = newest(folder)
    if not found:
        raise SpeechError(f"expected a checkpoint in {folder}, found none: run stage={name} first")
    model.load_state_dict(found[0])
    return model.eval(), found[1]
