"""Stage `train`: Lightning on a CPU, one device or several, with resuming at the very batch where it stopped."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging

from recipes.asr_small.callbacks import Progress, checkpoints
from recipes.asr_small.data import Speech
from recipes.asr_small.module import Training
from recipes.asr_small.prepare import load_tokenizer
from recipes.asr_small.settings import Settings
from recipes.asr_small.weights import start_from
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
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # the position of the data is the recipe's own, which Lightning cannot know
        warnings.filterwarnings("ignore", message=".*(mid-epoch|does not have many workers|eagerly read CutSet).*")
        warnings.filterwarnings("ignore", category=FutureWarning)
        data = Speech(settings, module)
        trainer(settings, len(data.held_out) > 0).fit(
            module, data, ckpt_path=found[0] if found else None, weights_only=True
        )


def trainer(settings: Settings, validate: bool) -> Trainer:
    """The loop as configured; nothing but the recipe's own callbacks writes files."""
    options, optim = settings.raw.trainer, settings.optim
    settings.checkpoints.mkdir(parents=True, exist_ok=True)
    progress = Progress(
        settings.work / "log.jsonl",
        settings.checkpoints,
        every=options.log_every,
        checkpoint_minutes=options.checkpoint_minutes,
        minutes=options.minutes,
    )
    return Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        strategy=options.strategy,
        precision=options.precision,
        max_steps=optim.steps,
        max_epochs=-1,
        gradient_clip_val=optim.clip,
        accumulate_grad_batches=options.accumulate,
        val_check_interval=options.validate_every * options.accumulate,
        check_val_every_n_epoch=None,
        limit_val_batches=None if validate else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        callbacks=[EMAWeightAveraging(decay=optim.average, update_starting_at_step=optim.warmup // 2), progress],
    )
