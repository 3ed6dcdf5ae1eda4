"""Training data of all parts: pools of utterances, stretches drawn from them, batches that follow from their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from lhotse import MonoCut
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from recipes.common.cache import RATE, AudioCache
from recipes.common.prepare import cache, held_out
from recipes.common.settings import BaseSettings
from recipes.common.training import Resumable
from recipes.tts_small.tracks import FRAME, Phones, frame_count, load_f0
from speech.audio.resample import resample
from speech.errors import SpeechError

NONE: Mapping[str, Any] = MappingProxyType({})


class Pool(NamedTuple):
    """Utterances of one corpus with their f0 and, where a part asks for it, their phones, codes and symbols by code.

    weight: how likely a second of it is to be drawn. symbols: [t] int64 each, -1 where there is none.
    """

    audio: AudioCache
    cuts: list[MonoCut]
    f0: Mapping[str, np.ndarray]
    weight: float
    phones: Mapping[str, Phones] = NONE
    codes: Mapping[str, np.ndarray] = NONE
    symbols: Mapping[str, np.ndarray] = NONE


def pools(settings: BaseSettings, reading: float) -> list[Pool]:
    """The training corpora. reading: weight of the reading voices."""
    data, result = settings.raw.data, []
    for name in data.train:
        audio = cache(settings, name)
        result.append(Pool(audio, audio.cuts(), load_f0(audio), reading if name in data.reading else 1.0))
    return result


def part(pools: list[Pool], *, held: bool) -> list[Pool]:
    """The utterances that are held out of training, or the others."""
    return [pool._replace(cuts=[cut for cut in pool.cuts if held_out(cut) == held]) for pool in pools]


def speaker(cut: MonoCut) -> str:
    return cut.supervisions[0].speaker or ""


class Weighted:
    """Draws indices, each as likely as its weight."""

    def __init__(self, weights: Sequence[float] | np.ndarray) -> None:
        self.edges = np.cumsum(weights) / np.sum(weights)

    def __call__(self, rng: np.random.Generator) -> int:
        return min(int(np.searchsorted(self.edges, rng.random())), len(self.edges) - 1)


@dataclass(frozen=True)
class StretchConfig:
    """size: stretches in a batch. frames: of a stretch, 10 ms each. margin: frames more at both ends, for features.

    reading: how much likelier a second of a reading voice is drawn than one of other speech. gain_db: uniform range.
    held_out: stretches for validation.
    """

    size: int = 16
    frames: int = 64
    margin: int = 0
    reading: float = 3.0
    gain_db: tuple[float, float] = (-12.0, 3.0)
    held_out: int = 32

    @property
    def needed(self) -> int:
        """Frames of a stretch, its margins included."""
        return self.frames + 2 * self.margin


class Place(NamedTuple):
    """A stretch of an utterance: its samples [needed * 160], and its first frame, the margin included.

    pace: how much faster it is played than it was spoken; frame i of the samples is frame begin + i * pace.
    """

    pool: Pool
    cut: MonoCut
    begin: int
    samples: np.ndarray
    pace: float = 1.0


class Stretches(Dataset):
    """Item number -> batch, of stretches of one length. All draws follow from the seed and the number.

    A subclass says what a batch is (`batch`), and may leave utterances out by `usable`. grid: stretches begin at a
    multiple of so many frames. Raises SpeechError where no utterance is long enough.
    """

    grid = 1

    def __init__(self, pools: list[Pool], config: StretchConfig, seed: int, *, augment: bool) -> None:
        self.config, self.seed, self.augment = config, seed, augment
        self.rows = [
            (pool, cut)
            for pool in pools
            for cut in pool.cuts
            if frame_count(cut) >= config.needed and self.usable(pool, cut)
        ]
        if not self.rows:
            raise SpeechError(f"expected speech of at least {config.needed / 100} s, found none: shorten the frames")
        self.draw = Weighted([self.weight(pool, cut) for pool, cut in self.rows])

    def usable(self, pool: Pool, cut: MonoCut) -> bool:
        """Whether what the part needs is known of an utterance."""
        return True

    def weight(self, pool: Pool, cut: MonoCut) -> float:
        """How likely an utterance is drawn."""
        return pool.weight * frame_count(cut)

    def batch(self, places: list[Place], seed: int) -> Any:
        """The batch of some stretches. seed: for draws that are made later."""
        raise NotImplementedError

    def __getitem__(self, number: int) -> Any:
        rng = np.random.default_rng((self.seed, number))
        places = [self._place(rng) for _ in range(self.config.size)]
        return self.batch(places, int(rng.integers(1 << 31)))

    def pace(self, rng: np.random.Generator) -> float:
        """How much faster than it was spoken a stretch is played, where its utterance is long enough."""
        return 1.0

    def _place(self, rng: np.random.Generator) -> Place:
        pool, cut = self.rows[self.draw(rng)]
        pace = min(self.pace(rng), frame_count(cut) / self.config.needed)
        needed = math.ceil(self.config.needed * pace)
        begin = int(rng.integers((frame_count(cut) - needed) // self.grid + 1)) * self.grid
        x = played(pool.audio.audio(cut)[begin * FRAME : (begin + needed) * FRAME], pace)[: self.config.needed * FRAME]
        if self.augment:
            x = x * 10 ** (rng.uniform(*self.config.gain_db) / 20)
            x = x * rng.choice([-1.0, 1.0]) / max(1.0, float(np.abs(x).max()))
        return Place(pool, cut, begin, x.astype(np.float32), pace)


def played(samples: np.ndarray, pace: float) -> np.ndarray:
    """A recording played faster, its pitch and formants as much higher: [n] -> [ceil(n / pace)]."""
    if pace == 1.0:
        return samples
    found, count = resample(samples, RATE * pace, RATE), math.ceil(len(samples) / pace)
    return np.pad(found[:count], (0, max(0, count - len(found))))


class Numbers(Sampler):
    """0, 1, 2, ... for ever, from `skip` on; of several processes each takes every `world`-th."""

    def __init__(self, skip: int = 0, rank: int = 0, world: int = 1) -> None:
        self.skip, self.rank, self.world = skip, rank, world

    def __iter__(self) -> Iterator[int]:
        return islice(count(), self.skip * self.world + self.rank, None, self.world)


class Numbered(LightningDataModule):
    """Batches by their number, from the position on at which the module stands; and `batches` that are held out."""

    def __init__(
        self, settings: BaseSettings, module: Resumable, train: Dataset, held_out: Dataset | None, batches: int
    ) -> None:
        super().__init__()
        self.module, self.train, self.held_out, self.batches = module, train, held_out, batches
        self.workers = settings.raw.trainer.workers

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        numbers = Numbers(self.module.batches, self.trainer.global_rank, self.trainer.world_size)
        ahead = {"num_workers": self.workers, "prefetch_factor": 4} if self.workers else {}
        return DataLoader(self.train, batch_size=None, sampler=numbers, **ahead)

    def val_dataloader(self) -> DataLoader:
        assert self.held_out is not None
        return DataLoader(self.held_out, batch_size=None, sampler=range(self.batches))  # type: ignore[arg-type]


def stretch_data(
    settings: BaseSettings, module: Resumable, kind: Callable[..., Stretches], pools: list[Pool], config: StretchConfig
) -> Numbered:
    """Stretches for training and, where there are some, held-out ones. kind: a subclass of `Stretches`."""
    seed = settings.raw.seed
    train, held = kind(part(pools, held=False), config, seed, augment=True), part(pools, held=True)
    try:
        judge = kind(held, config, seed, augment=False)
    except SpeechError:  # nothing that is long enough was held out
        judge = None
    return Numbered(settings, module, train, judge, -(-config.held_out // config.size))
