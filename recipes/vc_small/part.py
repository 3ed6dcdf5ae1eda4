"""What both trainings of the network have in common: what it is given of a batch, and who tells it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recipes.common.cache import RATE
from recipes.common.optim import AdamWConfig
from recipes.tts_small.parts import Part
from recipes.vc_small.pairs import PairBatch
from recipes.vc_small.perturb import PerturbConfig, draw_warps, noisy, warped
from speech.audio.mel import LogMel
from speech.content.campplus import CAMPPlus, centred
from speech.content.encoder import ContentEncoder
from speech.flow.objectives import drop_rows
from speech.flow.solver import Sampling
from speech.streaming.frames import Frames
from speech.vc.network import ConverterNetwork
from speech.vc.training import worn


class Ears(NamedTuple):
    """Trained encoders and the mel frames, which are asked and not trained; all in evaluation mode.

    In a tuple they are no part of the training module, whose weights are trained, averaged and saved.
    """

    content: ContentEncoder
    speaker: CAMPPlus
    mel: LogMel

    def moved(self, device: torch.device) -> Ears:
        """The same on a device."""
        return Ears(self.content.to(device), self.speaker.to(device), self.mel.to(device))

    @torch.no_grad()
    def said(self, samples: Tensor, perturb: PerturbConfig, generator: torch.Generator) -> Tensor:
        """What is said in [b, n] samples, perturbed, in 25 frames a second: [b, t, content]."""
        config = self.content.config.mel
        mel = self.content.mel(Frames.whole(noisy(samples, perturb, generator)))
        mel = mel.like(warped(mel.data, draw_warps(len(samples), perturb, generator).to(mel.data), config))
        return self.content.from_mel("said")(mel).data

    @torch.no_grad()
    def voice(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Speaker vectors [b, s] and mel frames [b, p, mel] of references [b, p * hop]; lengths: [b] frames."""
        hop = self.mel.config.hop
        frames = Frames.whole(samples, lengths * hop)
        return self.speaker.vectors(centred(self.speaker.fbank(frames))), self.mel(frames).data


class Given(NamedTuple):
    """What the network is asked, and what it should answer.

    mel: [b, n, mel], the answer. conditions: [b, n, content + speaker]. clean: [b, n, mel], its past as it will have
    made it. noise: [b, n, mel]. lengths: [b], all n.
    """

    mel: Tensor
    conditions: Tensor
    clean: Tensor
    noise: Tensor
    lengths: Tensor

    def rows(self, rows: slice) -> Given:
        """Some of the rows."""
        return Given(*(x[rows] for x in self))


class NetworkPart(Part):
    """The network in training. perturb: of what the content encoder hears; margin: frames that a stretch has more."""

    model: ConverterNetwork

    def __init__(
        self, model: ConverterNetwork, ears: Ears, optim: AdamWConfig, perturb: PerturbConfig, margin: int
    ) -> None:
        super().__init__(model, optim)
        self.ears, self.perturb, self.margin = ears, perturb, margin
        self.views: dict[int, ConverterNetwork] = {}

    def on_fit_start(self) -> None:
        self.ears = self.ears.moved(self.device)

    def view(self, chunks: tuple[int, ...], generator: torch.Generator) -> ConverterNetwork:
        """The network with one of some chunk sizes, on the model's own parameters."""
        chunk = chunks[int(torch.randint(len(chunks), (), generator=generator))]
        if chunk not in self.views:  # kept, since making one takes as long as a few layers
            self.views[chunk] = self.model.at(chunk)
        return self.views[chunk].train(self.training)

    def given(
        self,
        batch: PairBatch,
        network: ConverterNetwork,
        generator: torch.Generator,
        most: float,
        dropped: float = 0.0,
        perturb: PerturbConfig | None = None,
    ) -> Given:
        """What a batch asks of the network.

        most: see `worn`; dropped: share of rows without conditions; perturb: another one than that of the training.
        """
        inner = self.inner(batch)
        with torch.autocast(batch.samples.device.type, enabled=False):
            mel = self.ears.mel(Frames.whole(batch.samples)).data[:, inner]
            said = self.ears.said(batch.samples, perturb or self.perturb, generator)
            vectors, reference = self.ears.voice(batch.reference, batch.lengths)
        content = network.lead()(Frames.whole(said)).data[:, inner]
        conditions = network.conditioned(content, network.target(vectors, reference, batch.lengths))
        noise = torch.randn(mel.shape, generator=generator).to(mel)
        lengths = torch.full((len(mel),), mel.shape[1], device=mel.device)
        return Given(mel, drop_rows(conditions, dropped, generator), worn(mel, most, generator), noise, lengths)

    def inner(self, batch: PairBatch) -> slice:
        """The frames of a batch without margins."""
        return slice(self.margin, batch.samples.shape[1] // self.ears.mel.config.hop - self.margin)

    def told(self, given: Given) -> None:
        """Count the speech of a batch."""
        self.count(given.mel.shape[0] * given.mel.shape[1] * self.ears.mel.config.hop / RATE)

    def distance(self, given: Given, network: ConverterNetwork, sampling: Sampling) -> Tensor:
        """Mean absolute difference in nats of what a stream would make and what it should have made."""
        with torch.autocast(given.mel.device.type, enabled=False):  # a stream's state has one precision
            made = network.solver(sampling)(Frames.whole(given.conditions.float())).data
        return (made - given.mel).abs().mean() / self.ears.mel.config.slope
