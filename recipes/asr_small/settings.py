"""The composed Hydra configuration as typed objects, and where the recipe keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recipes.asr_small.augment import AugmentConfig, SpecAugmentConfig
from recipes.asr_small.batches import BatchConfig
from recipes.asr_small.optim import OptimConfig
from recipes.common.settings import BaseSettings, compose_raw, typed
from speech.asr.model import FastConformerConfig
from speech.errors import SpeechError


@dataclass(frozen=True)
class Settings(BaseSettings):
    """One run of the recipe. Raises SpeechError for losses that the model has no head for."""

    model: FastConformerConfig
    optim: OptimConfig
    batch: BatchConfig
    augment: AugmentConfig
    mask: SpecAugmentConfig

    def __post_init__(self) -> None:
        weight, start = self.optim.transducer_weight, self.optim.transducer_start
        if not self.model.ctc and (weight < 1 or start > 0):
            raise SpeechError(
                f"expected no CTC loss for a model without a CTC head, got transducer_weight {weight:g} and "
                f"transducer_start {start:g}: set optim.transducer_weight=1 optim.transducer_start=0, or model.ctc=true"
            )
        if self.model.prediction is None and weight > 0:
            raise SpeechError(
                f"expected no transducer loss for a model without a transducer, got transducer_weight {weight:g}: set "
                "optim.transducer_weight=0, or model.prediction"
            )

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
