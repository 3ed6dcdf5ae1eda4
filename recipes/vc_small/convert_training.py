"""The network in training by mean flows: content, and a reference of the speaker, back to his own mel frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recipes.common.optim import AdamWConfig
from recipes.tts_small.flow_training import draw_times
from recipes.tts_small.listening import PhoneListener
from recipes.vc_small.listening import UNDISTURBED, ListenConfig, converted
from recipes.vc_small.pairs import PairBatch
from recipes.vc_small.part import Given, NetworkPart
from speech.content.encoder import FACTOR
from speech.vc.network import ConverterNetwork
from speech.vc.training import converter_loss

Parts = dict[str, Tensor]


@dataclass(frozen=True)
class ConvertOptimConfig(AdamWConfig):
    """chunks: mel frames of a chunk, one of which is drawn for a batch. guidance: inside the velocities; 1 for none.
    dropped: share of rows without conditions. worn: noise on the past, in standard deviations, at the most.

    intervals: share of rows whose velocity is averaged over an interval of time, from `intervals_start`, a share of the
    steps, on; all others have instantaneous ones, which cost half as much. uniform: share of rows whose times are drawn
    evenly from [0, 1] instead of as by `flow.objectives.draw_interval`, which seldom comes near pure noise. listen: of
    the loss of phones that were not made clear.
    """

    chunks: tuple[int, ...] = (8, 16)
    guidance: float = 2.0
    dropped: float = 0.1
    worn: float = 0.4
    intervals: float = 0.25
    intervals_start: float = 0.4
    uniform: float = 0.5
    listen: ListenConfig = field(default_factory=ListenConfig)


class ConvertTraining(NetworkPart):
    """Speech to itself: what is left out of the content, the voice, has to come from the reference."""

    optim: ConvertOptimConfig

    def loss(self, given: Given, network: ConverterNetwork, generator: torch.Generator, averaged: int) -> Tensor:
        """Of all rows, of which the first `averaged` have velocities averaged over intervals of time."""
        rows = len(given.mel)
        t, r = (x.to(given.mel.device) for x in draw_times(rows, self.optim.uniform, generator))
        total = given.mel.new_zeros(())
        for part, over in ((slice(averaged), True), (slice(averaged, rows), False)):
            if len(t[part]):
                some = given.rows(part)
                found = converter_loss(
                    network,
                    some.mel,
                    some.conditions,
                    some.lengths,
                    some.noise,
                    t[part],
                    r[part] if over else None,
                    clean=some.clean,
                    guidance=self.optim.guidance,
                )
                total = total + found.loss * len(some.mel)
        return total / rows

    def training_step(self, batch: PairBatch, batch_index: int) -> Parts:
        generator = torch.Generator().manual_seed(batch.seed)
        network = self.view(self.optim.chunks, generator)
        given = self.given(batch, network, generator, self.optim.worn, self.optim.dropped)
        begun = self.global_step >= self.optim.intervals_start * self.optim.steps
        averaged = round(self.optim.intervals * len(given.mel)) if begun else 0
        self.told(given)
        velocity = self.loss(given, network, generator, averaged)
        heard = self.heard(batch, network, generator)
        loss = velocity + self.optim.listen.weight * heard["phones"] if heard else velocity
        return {"loss": loss, "velocity": velocity, **heard}

    def heard(self, batch: PairBatch, network: ConverterNetwork, generator: torch.Generator) -> Parts:
        """How unclear the phones are in what a stream makes of the first rows; nothing without rows to listen to."""
        rows = slice(math.ceil(self.optim.listen.share * len(batch.samples)))
        if not rows.stop:
            return {}
        some, inner = PairBatch(*(x[rows] for x in batch[:-1]), batch.seed), self.inner(batch)
        given = self.given(some, network, generator, self.optim.worn, perturb=UNDISTURBED)
        made = converted(network, given, self.model.config.sampling)
        at = torch.arange(inner.start, inner.stop, FACTOR, device=made.device) - self.optim.listen.lag
        with torch.autocast(made.device.type, enabled=False):
            listener = PhoneListener(self.ears.content, some.samples, given.mel, inner)
            return {"phones": listener.wrong(made, some.phones[:, at])}

    def validation_step(self, batch: PairBatch, batch_index: int) -> None:
        generator = torch.Generator().manual_seed(batch.seed)
        network = self.view(self.optim.chunks[:1], generator)
        given = self.given(batch, network, generator, 0.0)
        values = {
            "val_velocity": self.loss(given, network, generator, 0),
            "val_mel": self.distance(given, network, self.model.config.sampling),
            **{f"val_{name}": value for name, value in self.heard(batch, network, generator).items()},
        }
        self.log_dict(values, batch_size=len(given.mel), sync_dist=True)
