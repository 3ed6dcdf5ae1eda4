"""What the network trains on: stretches of speech, each beside a recording of the same speaker that is its target."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from lhotse import MonoCut
from torch import Tensor

from recipes.tts_small.content_training import CLASS
from recipes.tts_small.listening import UNHEARD
from recipes.tts_small.pools import Place, Pool, StretchConfig, Stretches, played, speaker
from recipes.tts_small.tracks import FRAME, frame_count
from speech.content.encoder import FACTOR
from speech.errors import SpeechError


@dataclass(frozen=True)
class PairConfig(StretchConfig):
    """margin: also what the content encoder has heard before a stretch. reference: frames of the target's recording, at
    the most; least: at least. pace: up to this factor, faster or slower, both are played alike, which makes speakers of
    other pitch and size. Raises SpeechError for stretches that are no whole number of content frames."""

    frames: int = 240
    margin: int = 40
    reference: int = 400
    least: int = 100
    pace: float = 1.0

    def __post_init__(self) -> None:
        if self.frames % FACTOR or self.margin % FACTOR or not 3 <= self.least <= min(self.needed, self.reference):
            raise SpeechError(
                f"expected convert.crops with frames and a margin of multiples of {FACTOR}, and `least` of 3 to "
                f"{min(self.needed, self.reference)} frames, got {self.frames}, {self.margin} and {self.least}: "
                "correct them"
            )


class PairBatch(NamedTuple):
    """samples: [b, n] with margins. reference: [b, m] of the same speaker, zeros behind its end; lengths: [b] its
    frames of 10 ms. phones: [b, n / 160] classes, UNHEARD where nobody knows them. seed: for later draws."""

    samples: Tensor
    reference: Tensor
    lengths: Tensor
    phones: Tensor
    seed: int


class Pairs(Stretches):
    """Item number -> PairBatch. A speaker is drawn as the root of the time that he speaks.

    The reference is of another utterance; of a speaker with one only it is a part of that which the stretch does not
    overlap, or overlaps least.
    """

    config: PairConfig

    def __init__(self, pools: list[Pool], config: PairConfig, seed: int, *, augment: bool) -> None:
        self.heard: Counter[str] = Counter()
        self.spoken: dict[str, list[tuple[Pool, MonoCut]]] = defaultdict(list)
        for pool in pools:
            for cut in pool.cuts:
                self.heard[owner(cut)] += frame_count(cut)
                if frame_count(cut) >= config.least:
                    self.spoken[owner(cut)].append((pool, cut))
        super().__init__(pools, config, seed, augment=augment)

    def weight(self, pool: Pool, cut: MonoCut) -> float:
        return super().weight(pool, cut) * self.heard[owner(cut)] ** -0.5

    def pace(self, rng: np.random.Generator) -> float:
        return self.config.pace ** rng.uniform(-1, 1) if self.augment else 1.0

    def batch(self, places: list[Place], seed: int) -> PairBatch:
        rng = np.random.default_rng(seed)
        references = [self._reference(place, rng) for place in places]
        padded = np.zeros((len(places), self.config.reference * FRAME), np.float32)
        for row, samples in zip(padded, references, strict=True):
            row[: len(samples)] = samples
        return PairBatch(
            torch.from_numpy(np.stack([place.samples for place in places])),
            torch.from_numpy(padded),
            torch.tensor([len(samples) // FRAME for samples in references]),
            torch.from_numpy(np.stack([self._phones(place) for place in places])),
            seed,
        )

    def _phones(self, place: Place) -> np.ndarray:
        """[needed] classes of the phones of a stretch."""
        phones = place.pool.phones.get(place.cut.id)
        if phones is None:
            return np.full(self.config.needed, UNHEARD)
        at = place.begin + (np.arange(self.config.needed) * place.pace).astype(int)
        return CLASS[np.repeat(phones.phones, phones.frames)[at]]

    def _reference(self, place: Place, rng: np.random.Generator) -> np.ndarray:
        """[m * 160] samples of whoever speaks in a stretch."""
        config, stretch = self.config, math.ceil(self.config.needed * place.pace)
        others = [row for row in self.spoken[owner(place.cut)] if row[1].id != place.cut.id]
        pool, cut = others[rng.integers(len(others))] if others else (place.pool, place.cut)
        count = frame_count(cut)
        rest = count if others else max(config.least, count - stretch)
        length = int(rng.integers(config.least, min(config.reference, rest) + 1))
        begins = np.arange(count - length + 1)
        if not others:
            shared = np.minimum(begins + length, place.begin + stretch) - np.maximum(begins, place.begin)
            shared = shared.clip(min=0)
            begins = begins[shared == shared.min()]
        begin = int(rng.choice(begins))
        samples = played(pool.audio.audio(cut)[begin * FRAME : (begin + length) * FRAME], place.pace)
        return samples[: config.reference * FRAME]


def owner(cut: MonoCut) -> str:
    """Who speaks; where that is not known, every utterance has a speaker of its own."""
    return speaker(cut) or cut.id
