"""Stretches of speech with their f0: what a vocoder trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recipes.common.cache import RATE
from recipes.tts_small.pools import Place, StretchConfig, Stretches
from recipes.tts_small.tracks import FRAME


@dataclass(frozen=True)
class SegmentConfig(StretchConfig):
    """Short stretches, with a margin for the windows of mel frames."""

    margin: int = 2


class SegmentBatch(NamedTuple):
    """samples: [b, (frames + 2 margin) * 160] float32; f0: [b, frames] Hz, 0 without voice. seed: for later draws."""

    samples: Tensor
    f0: Tensor
    seed: int


class Segments(Stretches):
    """Item number -> SegmentBatch."""

    def batch(self, places: list[Place], seed: int) -> SegmentBatch:
        def f0(place: Place) -> np.ndarray:
            inner = place.begin + self.config.margin
            return place.pool.f0[place.cut.id][inner : inner + self.config.frames].astype(np.float32)

        samples = torch.from_numpy(np.stack([place.samples for place in places]))
        return SegmentBatch(samples, torch.from_numpy(np.stack([f0(place) for place in places])), seed)


def seconds(batch: SegmentBatch) -> float:
    """Seconds of speech in a batch, margins not counted."""
    return batch.f0.numel() * FRAME / RATE
