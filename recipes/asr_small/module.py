"""What is trained: the hybrid loss on one batch, the optimiser and its schedule."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn.functional import ctc_loss

from recipes.asr_small.augment import SpecAugmentConfig, spec_augment
from recipes.asr_small.dataset import Batch
from speech.asr.greedy import CTCGreedy
from speech.asr.model import FastConformer
from speech.errors import SpeechError
from speech.hub.schema import to_tree
from speech.kernels.transducer_loss import transducer_loss
from speech.streaming.frames import Frames


@dataclass(frozen=True)
class OptimConfig:
    """Loss and optimiser. schedule: "cosine" (to a hundredth of `lr` at `steps`) or "noam" (`lr` is its peak)."""

    transducer_weight: float = 0.7
    fastemit: float = 0.005
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    warmup: int = 1000
    steps: int = 20_000
    clip: float = 1.0
    average: float = 0.999


class Losses(LightningModule):
    """A FastConformer under `transducer_weight` * transducer + the rest * CTC loss, both per token."""

    def __init__(
        self, model: FastConformer, optim: OptimConfig, mask: SpecAugmentConfig, to_text: Callable[[list[int]], str]
    ) -> None:
        super().__init__()
        self.model, self.optim, self.mask, self.to_text = model, optim, mask, to_text
        self.batches, self.audio_hours = 0, 0.0
        for part in (model.prediction, model.joint):
            if part is not None:
                part.requires_grad_(optim.transducer_weight > 0)

    def encode(self, batch: Batch, context: tuple[int, int]) -> Frames:
        """Samples to encoder frames at a (left, look-ahead) context; features stay in float32 under autocast."""
        with torch.autocast(batch.samples.device.type, enabled=False):
            frames = self.model.mel(Frames.whole(batch.samples, batch.lengths))
        if self.training:
            frames = frames.like(spec_augment(frames.data, frames.lengths, self.mask, batch.seed))
        return self.model.encoder.at(context)(frames)

    def losses(self, batch: Batch, frames: Frames) -> dict[str, Tensor]:
        """`loss` and its parts `ctc` and `transducer`, nats per token; a part without weight is left out."""
        weight, blank = self.optim.transducer_weight, self.model.config.vocabulary
        spoken, total, parts = batch.token_lengths, batch.token_lengths.sum(), {}
        if weight < 1:
            assert self.model.ctc is not None
            log_p = self.model.ctc(frames.data).transpose(0, 1)
            each = ctc_loss(log_p, batch.tokens, frames.lengths, spoken, blank, reduction="none", zero_infinity=True)
            parts["ctc"] = each.sum() / total
        if weight > 0:
            assert self.model.prediction is not None and self.model.joint is not None
            scores = self.model.joint(frames.data, self.model.prediction(batch.tokens))
            each = transducer_loss(scores, batch.tokens, frames.lengths, spoken, blank, self.optim.fastemit)
            parts["transducer"] = each.sum() / total
        shares = {"ctc": 1 - weight, "transducer": weight}
        return {"loss": torch.stack([shares[name] * part for name, part in parts.items()]).sum(), **parts}

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        losses = self.losses(batch, self.encode(batch, self.model.config.encoder.contexts[batch.context]))
        self.batches += 1
        self.audio_hours += batch.seconds / 3600 * self.trainer.world_size
        return losses

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        import jiwer

        frames = self.encode(batch, self.model.config.encoder.contexts[0])
        loss = self.losses(batch, frames)["loss"]
        assert self.model.ctc is not None
        said = [self.to_text([token.id for token in row]) for row in CTCGreedy(self.model.ctc).decode(frames)]
        meant = [self.to_text(row[:n].tolist()) for row, n in zip(batch.tokens, batch.token_lengths, strict=True)]
        size = int(batch.token_lengths.sum())
        self.log_dict({"val_loss": loss, "val_wer": float(jiwer.wer(meant, said))}, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        # parameters that are not trained are listed too: training can then go on with the transducer switched on
        everything = list(self.parameters())
        groups = [
            {"params": [p for p in everything if p.dim() > 1], "weight_decay": self.optim.weight_decay},
            {"params": [p for p in everything if p.dim() < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.optim.lr, betas=self.optim.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, self.optim))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["position"] = {
            "batches": self.batches,
            "audio_hours": self.audio_hours,
            "hardware": self._hardware(),
        }
        checkpoint["config"] = to_tree(self.model.config)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint["config"] != to_tree(self.model.config):
            raise SpeechError(
                "expected checkpoints of the configured model in the work folder, they are of another:"
                " choose another work=... folder (and init_from=... to start from other weights)"
            )
        self.batches, self.audio_hours = checkpoint["position"]["batches"], checkpoint["position"]["audio_hours"]

    def _hardware(self) -> str:
        if self.device.type == "cuda":
            return f"{self.trainer.world_size} x {torch.cuda.get_device_name(self.device)}"
        return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def rate(step: int, optim: OptimConfig) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine or step**-0.5 (Vaswani et al. 2017)."""
    rise = (step + 1) / optim.warmup
    if optim.schedule == "noam":
        return min(rise, (optim.warmup / (step + 1)) ** 0.5)
    done = min(1.0, max(0, step - optim.warmup) / max(1, optim.steps - optim.warmup))
    return min(rise, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
