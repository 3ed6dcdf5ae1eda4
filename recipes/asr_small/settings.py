"""The composed Hydra configuration as typed objects, and where the recipe keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recipes.asr_small.augment import AugmentConfig, SpecAugmentConfig
from recipes.asr_small.batches import BatchConfig
from recipes.asr_small.optim import OptimConfig
from recipes.common.settings import BaseSettings, compose_raw, typed
from speech.asr.model import FastConformerConfig


@dataclass(frozen=True)
class Settings(BaseSettings):
    """One run of the recipe."""

    model: FastConformerConfig
    optim: OptimConfig
    batch: BatchConfig
    augment: AugmentConfig
    mask: SpecAugmentConfig

    @property
    def checkpoints(self) -> Path:
        return self.work / "checkpoints"

    @property
    def tokenizer(self) -> Path:
        return self.work / "tokenizer.model"

    @property
    def profile(self) -> Path:
        return self.work / "batch_sizes.json"

    @property
    def synthetic(self) -> Path:
        return self.work / "synthetic"


def compose_settings(overrides: list[str]) -> Settings:
    """`conf/asr_small.yaml` under Hydra overrides. Raises SpeechError for an override that does not fit."""
    raw = compose_raw("asr_small", overrides)
    return Settings(
        raw,
        model=typed(FastConformerConfig, raw.model, "model"),
        optim=typed(OptimConfig, raw.optim, "optim"),
        batch=typed(BatchConfig, raw.batch, "batch"),
        augment=typed(AugmentConfig, raw.augment.waveform, "augment.waveform"),
        mask=typed(SpecAugmentConfig, raw.augment.features, "augment.features"),
    )
