"""What Lightning trains: one batch through the encoder to its losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recipes.asr_small.augment import SpecAugmentConfig, spec_augment
from recipes.asr_small.dataset import Batch
from recipes.asr_small.losses import alignment, ctc, halves, transducer
from recipes.asr_small.optim import OptimConfig, draw_context, loss_weights
from recipes.common.optim import adamw
from recipes.common.training import Resumable
from speech.asr.endpoint import EndpointConfig
from speech.asr.model import FastConformer
from speech.asr.recogniser import decoders
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential


class Training(Resumable):
    """A FastConformer under the weighted losses of `OptimConfig`.

    `aligner` scores the frame targets, beside the heads of the model; it serves training alone.
    """

    def __init__(
        self, model: FastConformer, optim: OptimConfig, mask: SpecAugmentConfig, to_text: Callable[[list[int]], str]
    ) -> None:
        super().__init__(model.config)
        if optim.context_weights and len(optim.context_weights) != len(model.config.encoder.contexts):
            raise SpeechError(
                f"expected a weight for each of the {len(model.config.encoder.contexts)} look-aheads, got"
                f" {len(optim.context_weights)} in optim.context_weights: give as many, or [] for even draws"
            )
        self.model, self.optim, self.mask, self.to_text = model, optim, mask, to_text
        self.aligner = nn.Linear(model.config.encoder.dim, model.config.vocabulary + 1)
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
            parts["transducer"] = transducer(model, last, batch, self.optim.fastemit, self.optim.joint_cells)
        if weights["alignment"]:
            parts["alignment"] = sum(alignment(self.aligner, frames, batch) for frames in (middle, last)) / 2
        return {"loss": torch.stack([weights[name] * part for name, part in parts.items()]).sum(), **parts}

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        step = self.global_step
        context = draw_context(step, self.optim, self.model.config.encoder.contexts, batch.seed)
        losses = self.losses(batch, *self.encode(batch, context), step)
        self.count(batch.seconds)
        return losses

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        import jiwer

        middle, last = self.encode(batch, self.model.config.encoder.contexts[0])
        loss = self.losses(batch, middle, last, self.global_step)["loss"]
        head = "ctc" if self.optim.transducer_weight < 1 else "rnnt"  # CTC decodes faster, where it is trained
        decoder = decoders(self.model, EndpointConfig())[head]
        said = [self.to_text([token.id for token in row]) for row in decoder.decode(last)]
        meant = [self.to_text(row[:n].tolist()) for row, n in zip(batch.tokens, batch.token_lengths, strict=True)]
        size = int(batch.token_lengths.sum())
        self.log_dict({"val_loss": loss, "val_wer": float(jiwer.wer(meant, said))}, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        # parameters that are not trained are listed too: training can then go on with another loss switched on
        optimizer, schedule = adamw(self.parameters(), self.optim)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
