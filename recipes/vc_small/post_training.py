"""The second training: one step from noise to mel frames, against a discriminator."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipes.common.optim import AdamWConfig, adamw
from recipes.tts_small.parts import step_one
from recipes.vc_small.discriminator import Discriminator, draw_noise, judge, noised
from recipes.vc_small.listening import ONE_STEP
from recipes.vc_small.pairs import PairBatch
from recipes.vc_small.part import Ears, Given, NetworkPart
from recipes.vc_small.perturb import PerturbConfig
from speech.flow.objectives import adaptive_mean
from speech.vc.network import ConverterNetwork


@dataclass(frozen=True)
class PostOptimConfig(AdamWConfig):
    """Weights of the losses beside the velocity's. adversarial: of the discriminator's judgement. anchor: of the
    distance to what the averaged network makes. penalty: on how the discriminator's scores change with noise of the
    deviation `wobble`. chunks, worn: see `ConvertOptimConfig`."""

    lr: float = 5e-5
    betas: tuple[float, float] = (0.8, 0.99)
    adversarial: float = 0.5
    anchor: float = 0.05
    penalty: float = 100.0
    wobble: float = 0.01
    chunks: tuple[int, ...] = (8, 16)
    worn: float = 0.4


class PostTraining(NetworkPart):
    """Diffusion adversarial post-training, as MeanVC does it (Lin et al. 2025, arXiv 2501.08316).

    The one step from noise is judged by a discriminator, and held near the true frames and near what the network's
    average over time, `past`, makes of the same noise.
    """

    optim: PostOptimConfig

    def __init__(
        self, model: ConverterNetwork, ears: Ears, optim: PostOptimConfig, perturb: PerturbConfig, margin: int
    ) -> None:
        super().__init__(model, ears, optim, perturb, margin)
        self.automatic_optimization = False
        self.discriminator = Discriminator(model)
        self.past = deepcopy(model).requires_grad_(False)

    def losses(self, given: Given, velocity: Tensor, past: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Of the network, unweighted. velocity, past: its own and its average's [b, n, mel] from pure noise to mel."""
        made, valid = given.noise - velocity, torch.ones(given.mel.shape[:2], dtype=torch.bool, device=given.mel.device)
        t, noise = draw_noise(made, generator)
        score = self.discriminator(noised(made, t, noise), t, given)
        return {
            "velocity": adaptive_mean((velocity - given.noise + given.mel).square().mean(-1), valid),
            "adversarial": (1 - score).square().mean(),
            "anchor": (velocity - past).square().mean(),  # the difference of the frames is that of the velocities
        }

    def training_step(self, batch: PairBatch, batch_index: int) -> dict[str, Tensor]:
        optim, generator = self.optim, torch.Generator().manual_seed(batch.seed)
        network = self.view(optim.chunks, generator)
        given = self.given(batch, network, generator, optim.worn)
        velocity = one_step(network, given)
        with torch.no_grad():
            past = one_step(self.past.at(network.config.chunk), given)
        fixed = given._replace(conditions=given.conditions.detach())
        judged = judge(self.discriminator, given.noise - velocity.detach(), fixed, generator, optim.wobble)
        self.manual_backward(judged.scores + optim.penalty * judged.penalty)
        step_one(self, 1, self.discriminator, self.optim.clip)
        parts = self.losses(given, velocity, past, generator)
        self.manual_backward(
            parts["velocity"] + optim.adversarial * parts["adversarial"] + optim.anchor * parts["anchor"]
        )
        step_one(self, 0, self.model, self.optim.clip)
        self.discriminator.zero_grad()  # what the network's own loss left there
        self._remember()
        self.told(given)
        return {name: x.detach() for name, x in (parts | {"discriminator": judged.scores}).items()}

    @torch.no_grad()
    def _remember(self) -> None:
        for old, new in zip(self.past.parameters(), self.model.parameters(), strict=True):
            old.lerp_(new, 1 - self.optim.average)

    def validation_step(self, batch: PairBatch, batch_index: int) -> None:
        generator = torch.Generator().manual_seed(batch.seed)
        network = self.view(self.optim.chunks[:1], generator)
        given = self.given(batch, network, generator, 0.0)
        self.log("val_mel", self.distance(given, network, ONE_STEP), batch_size=len(given.mel), sync_dist=True)

    def configure_optimizers(self) -> list[dict[str, Any]]:
        both = (adamw(weights, self.optim) for weights in (self.model.parameters(), self.discriminator.trained()))
        return [{"optimizer": o, "lr_scheduler": {"scheduler": s, "interval": "step"}} for o, s in both]


def one_step(network: ConverterNetwork, given: Given) -> Tensor:
    """The velocity averaged over all of the way from noise to mel frames, [b, n, mel], float32."""
    t = torch.ones(len(given.mel), device=given.mel.device)
    return network(given.noise, t, torch.zeros_like(t), given.conditions, given.lengths, given.clean).float()
