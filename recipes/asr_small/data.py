"""Loaders for training and for the held-out utterances."""

from __future__ import annotations

from itertools import chain
from typing import Any

from lhotse import CutSet, MonoCut
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from recipes.asr_small.batches import Batches, Bin, batch_sizes, estimate_bins, load_profile, token_count
from recipes.asr_small.dataset import Utterances
from recipes.asr_small.module import Training
from recipes.asr_small.prepare import training_sets
from recipes.asr_small.settings import Settings
from recipes.common.prepare import cache
from speech.errors import SpeechError

VALIDATION_BATCH = 16


class Speech(LightningDataModule):
    """Batches from the position on at which the module stands, for this process's share of the devices."""

    def __init__(self, settings: Settings, module: Training) -> None:
        super().__init__()
        self.settings, self.module = settings, module
        self.sets, self.held_out = training_sets(settings)
        if settings.optim.alignment and not any(cut.supervisions[0].custom["spans"] for cut in chain(*self.sets)):  # type: ignore[index]
            raise SpeechError(
                "expected word times for optim.alignment, found none: run stage=align, or set optim.alignment=0"
            )
        names = {cut.custom["cache"] for cuts in (*self.sets, self.held_out) for cut in cuts}  # type: ignore[index]
        self.caches = {name: cache(settings, name) for name in names}
        noise = cache(settings, "noise")
        self.noises = [noise.audio(cut) for cut in noise.cuts()] if noise.ready else []

    def train_dataloader(self) -> DataLoader:
        s, trainer = self.settings, self.trainer
        assert trainer is not None
        bins, sizes = plan(s, self.sets)
        share, workers = s.raw.data.synthetic_share, s.raw.trainer.workers
        batches = Batches(
            self.sets,
            [1 - share, share][: len(self.sets)],
            bins,
            sizes,
            buffer=s.batch.buffer,
            seed=s.raw.seed,
            skip=self.module.batches,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        data = Utterances(self.caches, s.augment, self.noises, s.model.vocabulary, (s.raw.seed, trainer.global_rank))
        ahead: dict[str, Any] = {"num_workers": workers, "prefetch_factor": 4} if workers else {}
        return DataLoader(data, batch_size=None, sampler=batches, **ahead)

    def val_dataloader(self) -> DataLoader:
        cuts = sorted(self.held_out, key=lambda cut: cut.duration)
        starts = range(0, len(cuts), VALIDATION_BATCH)
        batches = [(i, CutSet.from_cuts(cuts[i : i + VALIDATION_BATCH])) for i in starts]
        data = Utterances(self.caches, None, (), self.settings.model.vocabulary, (self.settings.raw.seed,))
        return DataLoader(data, batch_size=None, sampler=batches)  # type: ignore[arg-type]


def plan(settings: Settings, sets: list[list[MonoCut]]) -> tuple[list[Bin], list[int]]:
    """Bins and batch sizes: those that the batch-size search measured, or from the configured limits."""
    measured = load_profile(settings.profile)
    if measured:
        return measured[0], batch_sizes(measured[0], settings.batch, measured[1])
    cuts = [cut for part in sets for cut in part]
    durations, tokens = [cut.duration for cut in cuts], [token_count(cut) for cut in cuts]
    bins = estimate_bins(durations, tokens, settings.batch.buckets, settings.batch.parts)
    return bins, batch_sizes(bins, settings.batch)
