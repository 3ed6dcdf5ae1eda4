"""What Lightning trains: one batch through the encoder to its losses, the optimiser, and what a checkpoint says."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from recipes.asr_small.augment import SpecAugmentConfig, spec_augment
from recipes.asr_small.dataset import Batch
from recipes.asr_small.losses import alignment, ctc, halves, transducer
from recipes.asr_small.optim import OptimConfig, draw_context, loss_weights, rate
from speech.asr.greedy import CTCGreedy
from speech.asr.model import FastConformer
from speech.errors import SpeechError
from speech.hub.schema import to_tree
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential


class Training(LightningModule):
    """A FastConformer under the weighted losses of `OptimConfig`.

    `aligner` scores the frame targets, beside the heads of the model; it serves training alone.
    """

    def __init__(
        self, model: FastConformer, optim: OptimConfig, mask: SpecAugmentConfig, to_text: Callable[[list[int]], str]
    ) -> None:
        super().__init__()
        if optim.context_weights and len(optim.context_weights) != len(model.config.encoder.contexts):
            raise SpeechError(
                f"expected a weight for each of the {len(model.config.encoder.contexts)} look-aheads, got"
                f" {len(optim.context_weights)} in optim.context_weights: give as many, or [] for even draws"
            )
        self.model, self.optim, self.mask, self.to_text = model, optim, mask, to_text
        self.aligner = nn.Linear(model.config.encoder.dim, model.config.vocabulary + 1)
        self.batches, self.audio_hours = 0, 0.0
        self.views: dict[tuple[int, int], tuple[Sequential, Sequential]] = {}
        self.aligner.requires_grad_(optim.alignment > 0)
        for part in (model.prediction, model.joint):
            if part is not None:
                part.requires_grad_(optim.transducer_weight > 0)

    def encode(self, batch: Batch, context: tuple[int, int]) -> tuple[Frames, Frames]:
        """Samples to frames after the middle and the last layer, at a (left, look-ahead) context.

        Features stay in float32 under autocast.
        """
        with torch.autocast(batch.samples.device.type, enabled=False):
            frames = self.model.mel(Frames.whole(batch.samples, batch.lengths))
        if self.training and self.global_step >= self.mask.start:
            frames = frames.like(spec_augment(frames.data, frames.lengths, self.mask, batch.seed))
        if context not in self.views:  # kept, since making one takes as long as a few layers
            self.views[context] = halves(self.model.encoder.at(context))
        lower, upper = self.views[context]
        middle = lower.train(self.training)(frames)
        return middle, upper.train(self.training)(middle)

    def losses(self, batch: Batch, middle: Frames, last: Frames, step: int) -> dict[str, Tensor]:
        """`loss` at a step and its parts; a part without weight is left out."""
        model, weights, parts = self.model, loss_weights(step, self.optim), {}
        if weights["ctc"]:
            parts["ctc"] = ctc(model, last, batch)
        if weights["ctc_middle"]:
            parts["ctc_middle"] = ctc(model, middle, batch)
        if weights["transducer"]:
            parts["transducer"] = transducer(model, last, batch, self.optim.fastemit)
        if weights["alignment"]:
            parts["alignment"] = sum(alignment(self.aligner, frames, batch) for frames in (middle, last)) / 2
        return {"loss": torch.stack([weights[name] * part for name, part in parts.items()]).sum(), **parts}

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        step = self.global_step
        context = draw_context(step, self.optim, self.model.config.encoder.contexts, batch.seed)
        losses = self.losses(batch, *self.encode(batch, context), step)
        self.batches += 1
        self.audio_hours += batch.seconds / 3600 * self.trainer.world_size
        return losses

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        import jiwer

        middle, last = self.encode(batch, self.model.config.encoder.contexts[0])
        loss = self.losses(batch, middle, last, self.global_step)["loss"]
        assert self.model.ctc is not None
        said = [self.to_text([token.id for token in row]) for row in CTCGreedy(self.model.ctc).decode(last)]
        meant = [self.to_text(row[:n].tolist()) for row, n in zip(batch.tokens, batch.token_lengths, strict=True)]
        size = int(batch.token_lengths.sum())
        self.log_dict({"val_loss": loss, "val_wer": float(jiwer.wer(meant, said))}, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        # parameters that are not trained are listed too: training can then go on with another loss switched on
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
