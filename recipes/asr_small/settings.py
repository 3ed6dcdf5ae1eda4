"""The composed Hydra configuration as typed objects, and where the recipe keeps its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recipes.asr_small.augment import AugmentConfig, SpecAugmentConfig
from recipes.asr_small.batches import BatchConfig
from recipes.asr_small.optim import OptimConfig
from speech.asr.model import FastConformerConfig
from speech.errors import SpeechError
from speech.hub.schema import from_tree, to_tree

CONF = Path(__file__).parents[2] / "conf"
T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """One run of the recipe. `raw` holds what only one stage reads."""

    raw: DictConfig
    model: FastConformerConfig
    optim: OptimConfig
    batch: BatchConfig
    augment: AugmentConfig
    mask: SpecAugmentConfig

    @property
    def work(self) -> Path:
        return Path(self.raw.work)

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
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            raw = compose("asr_small", overrides)
        OmegaConf.resolve(raw)
        missing = sorted(OmegaConf.missing_keys(raw))
    except (HydraException, OmegaConfBaseException) as error:
        raise SpeechError(f"expected overrides of conf/asr_small.yaml, got {' '.join(overrides)!r}: {error}") from error
    if missing:
        raise SpeechError(f"expected a value for {', '.join(missing)}: add {missing[0]}=... to the command")
    return Settings(
        raw,
        model=_typed(FastConformerConfig, raw.model, "model"),
        optim=_typed(OptimConfig, raw.optim, "optim"),
        batch=_typed(BatchConfig, raw.batch, "batch"),
        augment=_typed(AugmentConfig, raw.augment.waveform, "augment.waveform"),
        mask=_typed(SpecAugmentConfig, raw.augment.features, "augment.features"),
    )


def _typed(kind: type[T], node: DictConfig, name: str) -> T:
    """The frozen configuration `kind` with its defaults under the values of `node`."""
    tree: Any = OmegaConf.to_container(OmegaConf.merge(to_tree(kind()), node))
    return from_tree(kind, tree, name)
