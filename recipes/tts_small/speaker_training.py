"""The speaker encoder in training: it tells the speakers of short stretches apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from lhotse import MonoCut
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize, one_hot

from recipes.common.cache import RATE
from recipes.common.optim import AdamWConfig
from recipes.tts_small.parts import Part
from recipes.tts_small.pools import Place, Pool, StretchConfig, Stretches, speaker
from speech.content.campplus import CAMPPlus, centred
from speech.streaming.frames import Frames


@dataclass(frozen=True)
class SpeakerOptimConfig(AdamWConfig):
    """margin: radians that a vector must lie nearer to its own speaker than to others. scale: of the cosines."""

    margin: float = 0.2
    scale: float = 30.0


class SpeakerBatch(NamedTuple):
    """samples: [b, n]; speakers: [b] their numbers."""

    samples: Tensor
    speakers: Tensor


class SpeakerStretches(Stretches):
    """Item number -> SpeakerBatch. A speaker is drawn as the root of the number of its utterances.

    numbers: of the speakers, by name; those of other speakers are left out.
    """

    def __init__(
        self, pools: list[Pool], config: StretchConfig, seed: int, *, augment: bool, numbers: dict[str, int]
    ) -> None:
        self.numbers = numbers
        self.counts = Counter(speaker(cut) for pool in pools for cut in pool.cuts)
        super().__init__(pools, config, seed, augment=augment)

    def usable(self, pool: Pool, cut: MonoCut) -> bool:
        return speaker(cut) in self.numbers

    def weight(self, pool: Pool, cut: MonoCut) -> float:
        return pool.weight * self.counts[speaker(cut)] ** -0.5

    def batch(self, places: list[Place], seed: int) -> SpeakerBatch:
        samples = torch.from_numpy(np.stack([place.samples for place in places]))
        return SpeakerBatch(samples, torch.tensor([self.numbers[speaker(place.cut)] for place in places]))


class SpeakerTraining(Part):
    """Additive angular margins (Deng et al. 2019, arXiv 1801.07698): s cos(angle + m) for a stretch's own speaker."""

    model: CAMPPlus
    optim: SpeakerOptimConfig

    def __init__(self, model: CAMPPlus, optim: SpeakerOptimConfig, speakers: int) -> None:
        super().__init__(model, optim)
        self.centres = nn.Parameter(torch.randn(speakers, model.config.dim) * 0.1)

    def cosines(self, batch: SpeakerBatch) -> Tensor:
        """Of every stretch with every speaker, [b, speakers]."""
        with torch.autocast(batch.samples.device.type, enabled=False):
            fbank = centred(self.model.fbank(Frames.whole(batch.samples)))
        vectors = self.model.vectors(fbank).float()
        with torch.autocast(batch.samples.device.type, enabled=False):
            return linear(normalize(vectors, dim=-1), normalize(self.centres, dim=-1)).clamp(-1 + 1e-6, 1 - 1e-6)

    def training_step(self, batch: SpeakerBatch, batch_index: int) -> dict[str, Tensor]:
        cosines = self.cosines(batch)
        own = one_hot(batch.speakers, cosines.shape[1]) * self.optim.margin
        logits = self.optim.scale * (cosines.acos() + own).clamp(max=torch.pi).cos()
        self.count(batch.samples.numel() / RATE)
        right = (cosines.argmax(1) == batch.speakers).float().mean()
        return {"loss": cross_entropy(logits, batch.speakers), "accuracy": right}

    def validation_step(self, batch: SpeakerBatch, batch_index: int) -> None:
        cosines = self.cosines(batch)
        loss = cross_entropy(self.optim.scale * cosines, batch.speakers)
        right = (cosines.argmax(1) == batch.speakers).float().mean()
        self.log_dict({"val_loss": loss, "val_accuracy": right}, batch_size=len(cosines), sync_dist=True)
