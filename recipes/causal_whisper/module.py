"""What Lightning trains: a plain Whisper from nothing, and a causal one by the losses of prefixes."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from recipes.asr_small.augment import SpecAugmentConfig, spec_augment
from recipes.causal_whisper.data import FRAME, Batch
from recipes.causal_whisper.guidance import guidance, watched
from recipes.causal_whisper.labels import IGNORED, draw_prefixes, prefix_labels
from recipes.causal_whisper.settings import PretrainConfig, TuneConfig
from recipes.causal_whisper.vocabulary import Vocabulary
from recipes.common.cache import RATE
from recipes.common.optim import AdamWConfig
from recipes.tts_small.content_training import CLASSES
from recipes.tts_small.parts import Part
from speech.asr.whisper.config import Context
from speech.asr.whisper.encoder import Encoder
from speech.asr.whisper.model import Whisper
from speech.streaming.frames import Frames


class WhisperTraining(Part):
    """A Whisper on the rows of a vocabulary."""

    model: Whisper

    def __init__(self, model: Whisper, vocabulary: Vocabulary, optim: AdamWConfig, mask: SpecAugmentConfig) -> None:
        super().__init__(model, optim)
        self.vocabulary, self.mask = vocabulary, mask
        self.views: dict[Context, Encoder] = {}

    def encode(self, batch: Batch, context: Context) -> Frames:
        """Samples to encoder frames [b, t, d] in a context. Features stay in float32 under autocast."""
        with torch.autocast(batch.samples.device.type, enabled=False):
            frames = self.model.mel(Frames.whole(batch.samples, batch.lengths))
        if self.training and self.global_step >= self.mask.start:
            frames = frames.like(spec_augment(frames.data, frames.lengths, self.mask, batch.seed))
        if context not in self.views:  # kept, since making one takes as long as a few layers
            self.views[context] = self.model.encoder.at(context)
        return self.views[context].train(self.training)(frames)

    def nats(self, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """The mean over all labels that are asked for. logits: [..., rows]; labels: [...]."""
        if self.vocabulary.kept is not None:
            logits = logits + self.vocabulary.weight.to(logits.device)
        flat = logits.flatten(0, -2).float()
        return cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing)

    def losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """`loss` and its parts, then logits [..., rows] and their labels [...]."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        losses, _, _ = self.losses(batch)
        self.count(batch.seconds)
        return losses

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        losses, logits, labels = self.losses(batch)
        asked = labels != IGNORED
        wrong = (logits.argmax(-1) != labels)[asked].float().mean()
        values = {f"val_{name}": value for name, value in losses.items()} | {"val_wrong": wrong}
        self.log_dict(values, batch_size=int(asked.sum()), sync_dist=True)


class Pretraining(WhisperTraining):
    """A plain Whisper: whole signals, full attention. The head `phones` serves training alone."""

    optim: PretrainConfig

    def __init__(self, model: Whisper, vocabulary: Vocabulary, optim: PretrainConfig, mask: SpecAugmentConfig) -> None:
        super().__init__(model, vocabulary, optim, mask)
        self.phones = nn.Linear(model.config.dim, len(CLASSES))

    def losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        heard = self.encode(batch, self.model.config.contexts[0])
        with watched(self.model.decoder) as weights:
            logits = self.model.decoder(self._worn(batch), heard)
        scores = self.phones(heard.data).float()
        targets = pad(batch.phones, (0, scores.shape[1] - batch.phones.shape[1]), value=IGNORED)
        text = self.nats(logits, batch.labels, self.optim.smoothing if self.training else 0.0)
        phones = cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        beside = guidance(weights[0], batch.ends, len(self.vocabulary.symbols.prompt()) - 1)
        loss = text + self.optim.phones * phones + self.optim.guidance * beside
        return {"loss": loss, "text": text, "phones": phones, "beside": beside}, logits, batch.labels

    def _worn(self, batch: Batch) -> Tensor:
        """What the decoder is given, some of it replaced. Draws are made on the CPU from the batch's seed."""
        before = batch.before
        if not self.training:
            return before
        rng = torch.Generator().manual_seed(batch.seed)
        other = torch.randint(self.vocabulary.rows, before.shape, generator=rng).to(before.device)
        hit = (torch.rand(before.shape, generator=rng) < self.optim.noise).to(before.device)
        hit[:, : len(self.vocabulary.symbols.prompt())] = False
        return torch.where(hit, other, before)


class PrefixTraining(WhisperTraining):
    """A causal Whisper: several prefixes of every utterance in one backward pass.

    A frame of the block-causal encoder is the same in every prefix that holds it. So one pass over the utterance serves
    them all, and each prefix is a row of the decoder that reaches so far and no further.
    """

    optim: TuneConfig

    def losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        seed, contexts = batch.seed, self.model.config.contexts
        context = random.Random(seed).choice(contexts) if self.training else contexts[0]
        heard = self.encode(batch, context)
        rng, count = torch.Generator().manual_seed(seed), self.optim.prefixes
        reach = draw_prefixes(heard.lengths, context, count, rng)
        labels = self.labels(batch, reach)
        logits = self.model.decoder(batch.before.repeat_interleave(count, 0), heard, reach.flatten())
        return {"loss": self.nats(logits, labels)}, logits, labels

    def labels(self, batch: Batch, reach: Tensor) -> Tensor:
        """What is asked of prefixes of [b, p] frames. -> [b * p, u]."""
        end = int(self.vocabulary.row[self.vocabulary.symbols.end])
        return prefix_labels(batch.labels, batch.ends, reach * (FRAME / RATE), end).flatten(0, 1)
