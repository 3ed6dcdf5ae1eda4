"""Training in Lightning that goes on exactly where it stopped."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from omegaconf import DictConfig

from recipes.common.callbacks import Progress
from recipes.common.optim import AdamWConfig
from speech.errors import SpeechError
from speech.hub.schema import to_tree


class Resumable(LightningModule):
    """A model in training that counts what it has been given, and says so in its checkpoints.

    `batches` is the position in the data: a batch must be drawn from a seed and its number alone. `config`, a frozen
    dataclass, goes into checkpoints too, and those of another configuration are refused.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = to_tree(config)
        self.batches, self.audio_hours = 0, 0.0

    def count(self, seconds: float) -> None:
        """One batch with so many seconds of speech has been given."""
        self.batches += 1
        self.audio_hours += seconds / 3600 * self.trainer.world_size

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["position"] = {
            "batches": self.batches,
            "audio_hours": self.audio_hours,
            "hardware": self._hardware(),
        }
        checkpoint["config"] = self.config

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint["config"] != self.config:
            raise SpeechError(
                "expected checkpoints of the configured model in the work folder, they are of another:"
                " choose another work=... folder (and init_from=... to start from other weights)"
            )
        self.batches, self.audio_hours = checkpoint["position"]["batches"], checkpoint["position"]["audio_hours"]

    def _hardware(self) -> str:
        if self.device.type == "cuda":
            return f"{self.trainer.world_size} x {torch.cuda.get_device_name(self.device)}"
        return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def make_trainer(options: DictConfig, optim: AdamWConfig, folder: Path, *, validate: bool, **more: Any) -> Trainer:
    """The loop as configured in `trainer`; nothing but the recipe's own callbacks writes files.

    folder: gets `log.jsonl` and `checkpoints/`. more: arguments of Lightning's trainer.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    progress = Progress(
        folder / "log.jsonl",
        folder / "checkpoints",
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
        **more,
    )


def fit(trainer: Trainer, module: Resumable, data: LightningDataModule, checkpoint: Path | None) -> None:
    """Train, from a checkpoint on if there is one, without warnings of what is meant to be."""
    with warnings.catch_warnings():
        # the position of the data is the recipe's own, which Lightning cannot know
        warnings.filterwarnings("ignore", message=".*(mid-epoch|does not have many workers|eagerly read CutSet).*")
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*Mismatch dtype between input and weight.*")  # norms in autocast
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
