"""A vocoder against discriminators, in Lightning: two optimisers, stepped by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipes.common.optim import AdamWConfig, adamw
from recipes.common.training import Resumable
from recipes.tts_small.discriminators import Discriminators
from recipes.tts_small.losses import (
    SpectralLoss,
    adversarial_loss,
    discriminator_loss,
    f0_loss,
    feature_loss,
    split,
)
from recipes.tts_small.parts import step_one
from recipes.tts_small.segments import SegmentBatch, seconds
from recipes.tts_small.tracks import FRAME
from speech.audio.mel import LogMel
from speech.streaming.frames import Frames
from speech.vocoder.hift import HiFT


@dataclass(frozen=True)
class VocoderOptimConfig(AdamWConfig):
    """Weights of the losses, and when they begin.

    mel, spectral, f0, adversarial, features: weights. adversarial_start, own_f0_start: shares of the steps after which
    the discriminators join in, and after which the source follows the predicted f0 instead of the measured one.
    """

    mel: float = 15.0
    spectral: float = 2.0
    f0: float = 0.02
    adversarial: float = 1.0
    features: float = 4.0
    adversarial_start: float = 0.3
    own_f0_start: float = 0.5
    lr: float = 1e-3
    betas: tuple[float, float] = (0.8, 0.99)
    clip: float = 10.0


class VocoderTraining(Resumable):
    """mel: [b, t, features] -> samples under losses on spectra, f0 and, later, the discriminators' judgement.

    The source follows f0 without a gradient, as in the neural source-filter model (Wang et al. 2019).
    """

    def __init__(
        self, model: HiFT, mel: LogMel, discriminators: Discriminators, optim: VocoderOptimConfig, margin: int
    ) -> None:
        super().__init__((model.config, mel.config))
        self.automatic_optimization = False
        self.model, self.mel, self.discriminators = model, mel, discriminators
        self.optim, self.margin, self.spectral = optim, margin, SpectralLoss()

    def inputs(self, batch: SegmentBatch) -> tuple[Tensor, Tensor]:
        """Mel frames and samples without the margins: [b, t, features], [b, t * hop]."""
        inner = slice(self.margin, batch.samples.shape[1] // FRAME - self.margin)
        mel = self.mel(Frames.whole(batch.samples)).data[:, inner]
        return mel, batch.samples[:, inner.start * FRAME : inner.stop * FRAME]

    def generate(self, mel: Tensor, f0: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Samples [b, n] and predicted f0 [b, t], in float32: eight bits of phase would be heard."""
        with torch.autocast(mel.device.type, enabled=False):
            frames = Frames.whole(mel)
            predicted = self.model.f0(frames)
            own = step >= self.optim.own_f0_start * self.optim.steps
            guide = predicted.data.detach() if own else f0
            return self.model.body(frames, self.model.source(predicted.like(guide))).data, predicted.data

    def reconstruction(self, made: Tensor, samples: Tensor, predicted: Tensor, f0: Tensor) -> dict[str, Tensor]:
        """The losses that need no discriminator, unweighted."""
        mels = [self.mel(Frames.whole(x)).data for x in (made, samples)]
        return {
            "mel": (mels[0] - mels[1]).abs().mean(),
            "spectral": self.spectral(made, samples),
            "f0": f0_loss(predicted, f0),
        }

    def training_step(self, batch: SegmentBatch, batch_index: int) -> dict[str, Tensor]:
        step, optim = self.global_step, self.optim
        torch.manual_seed(batch.seed)  # the source's noise
        mel, samples = self.inputs(batch)
        made, predicted = self.generate(mel, batch.f0, step)
        parts = self.reconstruction(made, samples, predicted, batch.f0)
        loss = optim.mel * parts["mel"] + optim.spectral * parts["spectral"] + optim.f0 * parts["f0"]
        if step >= optim.adversarial_start * optim.steps:
            judged, pull = self._judge(samples, made.detach())
            parts |= judged
            loss = loss + (made * pull).sum()
        self.manual_backward(loss)
        step_one(self, 0, self.model, self.optim.clip)
        self.count(seconds(batch))
        return {name: part.detach() for name, part in parts.items()}

    def _judge(self, samples: Tensor, made: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Train the discriminators; also the gradient of the vocoder's part in the game, [b, n].

        One pass serves both, since each side asks for the gradients that are its own.
        """
        made.requires_grad_()
        real, judged = split(self.discriminators(torch.cat([samples, made])))
        loss = discriminator_loss(real, judged)
        weights = list(self.discriminators.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True):
            weight.grad = gradient
        adversarial, features = adversarial_loss(judged), feature_loss(real, judged)
        wanted = self.optim.adversarial * adversarial + self.optim.features * features
        (pull,) = torch.autograd.grad(wanted, made)
        step_one(self, 1, self.discriminators, self.optim.clip)
        return {"discriminator": loss, "adversarial": adversarial, "features": features}, pull

    def validation_step(self, batch: SegmentBatch, batch_index: int) -> None:
        torch.manual_seed(batch.seed)
        mel, samples = self.inputs(batch)
        made, predicted = self.generate(mel, batch.f0, self.optim.steps)  # as in use: by the predicted f0
        parts = self.reconstruction(made, samples, predicted, batch.f0)
        self.log_dict({f"val_{name}": part for name, part in parts.items()}, batch_size=len(mel), sync_dist=True)

    def configure_optimizers(self) -> list[dict[str, Any]]:
        both = (adamw(part.parameters(), self.optim) for part in (self.model, self.discriminators))
        return [{"optimizer": o, "lr_scheduler": {"scheduler": s, "interval": "step"}} for o, s in both]
