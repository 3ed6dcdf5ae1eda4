"""Stage `train`: Lightning on a CPU, one device or several, with resuming at the very batch where it stopped."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from recipes.asr_small.data import Speech
from recipes.asr_small.module import Training
from recipes.asr_small.prepare import load_tokenizer
from recipes.asr_small.settings import Settings
from recipes.asr_small.weights import start_from
from recipes.common.callbacks import checkpoints
from recipes.common.training import fit, make_trainer
from speech.asr.model import FastConformer

log = logging.getLogger(__name__)


def train(settings: Settings) -> None:
    """Train until `optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint in the work folder."""
    seed_everything(settings.raw.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    module = Training(FastConformer(settings.model), settings.optim, settings.mask, load_tokenizer(settings).decode)
    found = checkpoints(settings.checkpoints)
    if found:
        log.info("going on from %s", found[0])
    elif settings.raw.init_from:
        start_from(module.model, Path(settings.raw.init_from))
    data, optim = Speech(settings, module), settings.optim
    trainer = make_trainer(
        settings.raw.trainer,
        optim,
        settings.work,
        validate=len(data.held_out) > 0,
        gradient_clip_val=optim.clip,
    )
    fit(trainer, module, data, found[0] if found else None)
