"""The flow in training: mel frames from codes and speaker vectors, by flow matching or by a mean flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from lhotse import MonoCut
from torch import Tensor

from recipes.common.cache import RATE
from recipes.common.optim import AdamWConfig
from recipes.tts_small.listening import ListenConfig, PhoneListener, heard_as, sampled
from recipes.tts_small.parts import Part
from recipes.tts_small.pools import Place, Pool, StretchConfig, Stretches, speaker
from speech.audio.mel import LogMel
from speech.content.encoder import ContentEncoder
from speech.errors import SpeechError
from speech.flow.estimator import Estimator
from speech.flow.layers import Context
from speech.flow.model import Flow, FlowConfig
from speech.flow.objectives import (
    draw_interval,
    draw_prefix,
    flow_matching_loss,
    mean_flow_loss,
    training_contexts,
)
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential

Parts = dict[str, Tensor]


@dataclass(frozen=True)
class FlowOptimConfig(AdamWConfig):
    """Of a flow whose sampling asks for average velocities, the objective is a mean flow, else flow matching.

    prior: weight of the mean squared error of the encoder's own mel frames (Popov et al. 2021, arXiv 2105.06337).
    intervals: share of rows whose velocity is averaged over an interval of time, from `intervals_start`, a share of the
    steps, on; all others have instantaneous ones, which cost half as much. uniform: share of rows whose times are drawn
    evenly from [0, 1] instead of as by `draw_interval`, which seldom comes near pure noise. unlabelled: share of rows
    whose tokens are codes alone, as those of recordings without text are. wrong: share of the codes of all other rows
    that are changed for others of the row, so that the flow takes what is spoken from the symbols: the codes of a
    language model are drawn, and not always well. listen: of the loss of phones that were not made clear.
    """

    prior: float = 0.5
    intervals: float = 0.25
    intervals_start: float = 0.4
    uniform: float = 0.5
    unlabelled: float = 0.15
    wrong: float = 0.3
    listen: ListenConfig = field(default_factory=ListenConfig)


class FlowBatch(NamedTuple):
    """samples: [b, n] with margins; tokens: [b, t]; speakers: [b, d] vectors. seed: for later draws."""

    samples: Tensor
    tokens: Tensor
    speakers: Tensor
    seed: int


class FlowStretches(Stretches):
    """Item number -> FlowBatch: stretches that begin with a code. vectors: by speaker; flow: the settings of the model.

    unlabelled, wrong: see `FlowOptimConfig`.
    """

    def __init__(
        self,
        pools: list[Pool],
        config: StretchConfig,
        seed: int,
        *,
        augment: bool,
        vectors: dict[str, Tensor],
        flow: FlowConfig,
        unlabelled: float,
        wrong: float,
    ) -> None:
        rate = flow.rate
        if config.frames % rate or config.margin % rate:
            raise SpeechError(
                f"expected flow.crops with frames and a margin that are multiples of {rate}, got {config.frames} and "
                f"{config.margin}: correct them"
            )
        self.vectors, self.flow, self.grid = vectors, flow, rate
        self.unlabelled, self.wrong = unlabelled, wrong
        super().__init__(pools, config, seed, augment=augment)

    def usable(self, pool: Pool, cut: MonoCut) -> bool:
        return cut.id in pool.codes and speaker(cut) in self.vectors

    def batch(self, places: list[Place], seed: int) -> FlowBatch:
        rng = np.random.default_rng(seed)
        labelled = rng.random(len(places)) >= self.unlabelled
        return FlowBatch(
            torch.from_numpy(np.stack([place.samples for place in places])),
            torch.from_numpy(np.stack([self._tokens(*row, rng) for row in zip(places, labelled, strict=True)])),
            torch.stack([self.vectors[speaker(place.cut)] for place in places]),
            seed,
        )

    def _tokens(self, place: Place, labelled: bool, rng: np.random.Generator) -> np.ndarray:
        first = (place.begin + self.config.margin) // self.grid
        here = slice(first, first + self.config.frames // self.grid)
        tokens = place.pool.codes[place.cut.id][here].astype(np.int64)
        if labelled and self.flow.symbols and place.cut.id in place.pool.symbols:
            tokens = np.where(rng.random(len(tokens)) < self.wrong, rng.permutation(tokens), tokens)
            tokens = tokens + self.flow.vocabulary * (place.pool.symbols[place.cut.id][here] + 1)
        return tokens


class FlowTraining(Part):
    """Every batch draws one of the four contexts of `training_contexts`, and a prompt for half of its rows.

    listener: an encoder that says how clear what is made is, where `optim.listen` asks for it.
    """

    model: Flow
    optim: FlowOptimConfig

    def __init__(
        self, model: Flow, mel: LogMel, optim: FlowOptimConfig, margin: int, listener: ContentEncoder | None = None
    ) -> None:
        super().__init__(model, optim)
        self.mel, self.margin = mel, margin
        self.listener = (listener,)  # in a tuple it is no part of this module, whose weights are trained and saved
        self.contexts = training_contexts(model.config.context)
        self.views: dict[Context, tuple[Sequential, Estimator]] = {}

    def on_fit_start(self) -> None:
        self.listener = tuple(encoder and encoder.to(self.device) for encoder in self.listener)

    def view(self, context: Context) -> tuple[Sequential, Estimator]:
        """Encoder and estimator in a context, on the model's own parameters."""
        if context not in self.views:  # kept, since making one takes as long as a few layers
            self.views[context] = self.model.encoder(context), self.model.estimator.at(context)
        encoder, estimator = self.views[context]
        return encoder.train(self.training), estimator.train(self.training)

    def features(self, batch: FlowBatch) -> Tensor:
        """The mel frames of a batch, without the margins. [b, t, mel], float32."""
        with torch.autocast(batch.samples.device.type, enabled=False):
            mel = self.mel(Frames.whole(batch.samples)).data
        return mel[:, self.margin : mel.shape[1] - self.margin]

    def losses(
        self, batch: FlowBatch, mel: Tensor, context: Context, generator: torch.Generator, averaged: int
    ) -> Parts:
        """`velocity` of all rows, of the first `averaged` over intervals of time, `prior`, and what `heard` tells.

        mel: [b, t, mel].
        """
        encoder, estimator = self.view(context)
        lengths = torch.full((len(mel),), mel.shape[1], device=mel.device)
        given = self.model.conditioned(batch.tokens, batch.speakers, draw_prefix(mel, lengths, generator))
        conditions = encoder(self.model.ahead()(Frames.whole(given))).data
        noise = torch.randn(mel.shape, generator=generator).to(mel)
        t, r = (x.to(mel.device) for x in draw_times(len(mel), self.optim.uniform, generator))
        valid = torch.ones(mel.shape[:2], dtype=torch.bool, device=mel.device)
        over, at = slice(averaged), slice(averaged, None)
        loss = mel.new_zeros(())
        if averaged:
            network = velocity(estimator, conditions[over])
            loss = mean_flow_loss(network, None, mel[over], noise[over], t[over], r[over], valid[over]).loss * averaged
        if averaged < len(mel):
            network = velocity(estimator, conditions[at], backward=self.model.config.sampling.mean)
            loss = loss + flow_matching_loss(network, mel[at], noise[at], 1 - t[at], valid[at]) * (len(mel) - averaged)
        prior = (conditions[..., : mel.shape[2]].float() - mel).square().mean()
        rows = slice(math.ceil(self.optim.listen.share * len(mel)))
        heard = self.heard(batch, mel, velocity(estimator, conditions[rows]), noise[rows])
        return {"velocity": loss / len(mel), "prior": prior, **heard}

    def heard(self, batch: FlowBatch, mel: Tensor, network: Callable[..., Tensor], noise: Tensor) -> Parts:
        """How unclear the phones are in what a stream makes of the first rows, `phones`; nothing without a listener.

        network: of those rows; noise: [rows, t, mel]; mel: [b, t, mel], the answer of all rows.
        """
        (encoder,) = self.listener
        if encoder is None:
            return {}
        made = sampled(network, noise, self.model.config.sampling)
        symbols = batch.tokens[: len(noise)] // self.model.config.vocabulary - 1
        with torch.autocast(mel.device.type, enabled=False):
            listener = PhoneListener(encoder, batch.samples, mel, slice(self.margin, self.margin + mel.shape[1]))
            return {"phones": listener.wrong(made, heard_as(symbols))}

    def training_step(self, batch: FlowBatch, batch_index: int) -> Parts:
        generator = torch.Generator().manual_seed(batch.seed)
        context = self.contexts[int(torch.randint(len(self.contexts), (), generator=generator))]
        begun = self.global_step >= self.optim.intervals_start * self.optim.steps
        averaged = round(self.optim.intervals * len(batch.tokens)) if begun and self.model.config.sampling.mean else 0
        parts = self.losses(batch, self.features(batch), context, generator, averaged)
        self.count(batch.tokens.numel() * self.model.config.rate * self.mel.config.hop / RATE)
        loss = parts["velocity"] + self.optim.prior * parts["prior"]
        if "phones" in parts:
            loss = loss + self.optim.listen.weight * parts["phones"]
        return {"loss": loss, **parts}

    def validation_step(self, batch: FlowBatch, batch_index: int) -> None:
        mel, chunks = self.features(batch), self.contexts[2]
        parts = self.losses(batch, mel, chunks, torch.Generator().manual_seed(batch.seed), averaged=0)
        made = self.model(batch.tokens, batch.speakers, context=chunks).data.float()
        values = {f"val_{name}": value for name, value in parts.items()}
        values["val_mel"] = (made - mel).abs().mean() / self.mel.config.slope  # nats
        self.log_dict(values, batch_size=len(mel), sync_dist=True)


def draw_times(rows: int, uniform: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ends t >= r of intervals, [rows] each. uniform: the share of them that is drawn evenly."""
    t, r = draw_interval(rows, 0.0, generator)
    pair = torch.rand(rows, 2, generator=generator)
    even = torch.rand(rows, generator=generator) < uniform
    return torch.where(even, pair.amax(1), t), torch.where(even, pair.amin(1), r)


def velocity(estimator: Estimator, conditions: Tensor, *, backward: bool = False) -> Callable[..., Tensor]:
    """The network as the objectives call it. conditions: [b, t, mu | speaker | prompt].

    backward: its time runs from 1, noise, to 0, as in mean flows, and it is asked in the time of flow matching.
    """
    frames = Frames.whole(conditions)

    def network(x: Tensor, t: Tensor, r: Tensor | None = None) -> Tensor:
        rows = frames.like(torch.cat([x, conditions.to(x)], -1))
        return estimator(rows, estimator.modulate(t, r)).data.float()

    return (lambda x, t: -network(x, 1 - t)) if backward else network
