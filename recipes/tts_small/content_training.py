"""The content encoder in training: codes that keep what is said and its tune, and little of who says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from lhotse import MonoCut
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, nll_loss

from recipes.common.cache import RATE
from recipes.common.optim import AdamWConfig
from recipes.tts_small.parts import Part
from recipes.tts_small.pools import Place, Pool, StretchConfig, Stretches, speaker
from recipes.tts_small.tracks import PHONES, unstressed
from speech.content.encoder import FACTOR, ContentConfig, ContentEncoder, Tune
from speech.hub.schema import from_tree, to_tree
from speech.streaming.frames import Frames

CLASSES = tuple(dict.fromkeys(map(unstressed, PHONES)))
"""Phones without stress, silence first: what every frame is one of."""

CLASS = np.array([CLASSES.index(unstressed(phone)) for phone in PHONES])
"""The class of a phone, by its id."""


@dataclass(frozen=True)
class ContentOptimConfig(AdamWConfig):
    """tune: weight of f0, voicing and level beside the phones. lag: what a code says lies so many frames of 10 ms
    before its own time, and so much does the encoder hear of what follows."""

    tune: float = 0.3
    lag: int = 3


class ContentBatch(NamedTuple):
    """samples: [b, n]; phones: [b, t] classes; f0: [b, t] its logarithm, normalised by speaker; voiced: [b, t]."""

    samples: Tensor
    phones: Tensor
    f0: Tensor
    voiced: Tensor


class ContentStretches(Stretches):
    """Item number -> ContentBatch, of utterances whose phones are known."""

    def __init__(self, pools: list[Pool], config: StretchConfig, seed: int, *, augment: bool) -> None:
        super().__init__(pools, config, seed, augment=augment)
        self.levels = f0_levels(self.rows)

    def usable(self, pool: Pool, cut: MonoCut) -> bool:
        return cut.id in pool.phones

    def batch(self, places: list[Place], seed: int) -> ContentBatch:
        rows = [self._row(place) for place in places]
        return ContentBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def _row(self, place: Place) -> tuple[np.ndarray, ...]:
        pool, cut, begin, samples, _ = place
        span = slice(begin, begin + self.config.needed)
        phones = pool.phones[cut.id]
        f0 = pool.f0[cut.id][span].astype(np.float32)
        mean, spread = self.levels[speaker(cut)]
        level = np.where(f0 > 0, (np.log(np.maximum(f0, 1.0)) - mean) / spread, 0.0).clip(-3, 3)
        classes = CLASS[np.repeat(phones.phones, phones.frames)[span]]
        return samples, classes, level.astype(np.float32), (f0 > 0).astype(np.float32)


class ContentTraining(Part):
    """Phones by frame through the head of the model, and f0, voicing and level through a readout of the embedding.

    The readout is the model's own tune where it has one, and otherwise left behind when the model has been trained.
    """

    model: ContentEncoder
    optim: ContentOptimConfig

    def __init__(self, model: ContentEncoder, optim: ContentOptimConfig) -> None:
        super().__init__(model, optim)
        self.readout = None if model.tune else Tune(model.config.dim)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = to_tree(from_tree(ContentConfig, checkpoint["config"], "checkpoint"))  # as of today
        super().on_load_checkpoint(checkpoint)

    def losses(self, batch: ContentBatch) -> dict[str, Tensor]:
        """Phones, f0, voicing and level, and the share of frames whose phone is right."""
        with torch.autocast(batch.samples.device.type, enabled=False):
            mel = self.model.mel(Frames.whole(batch.samples))
        embedding = self.model.from_mel("embedding")(mel)
        readout = self.model.tune or self.readout
        assert self.model.head is not None and readout is not None
        scores = self.model.head(embedding).data.float().transpose(1, 2)
        f0, voiced, level = readout(embedding.data).float().unbind(-1)
        at = (torch.arange(f0.shape[1], device=f0.device) * FACTOR - self.optim.lag).clamp(min=0)
        phones, voice = batch.phones[:, at], batch.voiced[:, at]
        loud = mel.data.mean(2)
        loud = ((loud - loud.mean(1, keepdim=True)) / (loud.std(1, keepdim=True) + 0.1))[:, at]
        return {
            "phones": nll_loss(scores, phones),
            "f0": ((f0 - batch.f0[:, at]).abs() * voice).sum() / voice.sum().clamp(min=1),
            "voicing": binary_cross_entropy_with_logits(voiced, voice),
            "level": (level - loud).abs().mean(),
            "accuracy": (scores.argmax(1) == phones).float().mean(),
        }

    def training_step(self, batch: ContentBatch, batch_index: int) -> dict[str, Tensor]:
        parts = self.losses(batch)
        self.count(batch.samples.numel() / RATE)
        tune = parts["f0"] + parts["voicing"] + parts["level"]
        return {"loss": parts["phones"] + self.optim.tune * tune, **parts}

    def validation_step(self, batch: ContentBatch, batch_index: int) -> None:
        parts = self.losses(batch)
        self.log_dict({f"val_{name}": x for name, x in parts.items()}, batch_size=len(batch.samples), sync_dist=True)


def f0_levels(rows: list[tuple[Pool, MonoCut]]) -> dict[str, tuple[float, float]]:
    """By speaker, mean and standard deviation of the logarithm of f0 where there is a voice."""
    found: dict[str, list[np.ndarray]] = {}
    for pool, cut in rows:
        f0 = pool.f0[cut.id]
        found.setdefault(speaker(cut), []).append(np.log(f0[f0 > 0].astype(np.float32)))
    levels = {}
    for name, parts in found.items():
        x = np.concatenate(parts)
        levels[name] = (float(x.mean()), max(float(x.std()), 0.05)) if len(x) else (0.0, 1.0)
    return levels
