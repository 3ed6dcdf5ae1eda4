"""The composed Hydra configuration as typed objects, and where the recipe keeps its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recipes.asr_small.augment import AugmentConfig, SpecAugmentConfig
from recipes.common.optim import AdamWConfig
from recipes.common.settings import BaseSettings, compose_raw, typed
from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.search import Request
from speech.errors import SpeechError


@dataclass(frozen=True)
class AlignConfig:
    """recogniser: with a CTC head, as `speech.load` takes it."""

    recogniser: str = "asr"


@dataclass(frozen=True)
class CropConfig:
    """Stretches of utterances from word to word. seconds: in a batch. shortest, longest: of a stretch, in seconds.

    held_out: batches for validation.
    """

    seconds: float = 60.0
    shortest: float = 2.0
    longest: float = 10.0
    held_out: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.shortest <= self.longest <= self.seconds:
            raise SpeechError(f"expected 0 < shortest <= longest <= seconds of crops, got {self}: correct them")


@dataclass(frozen=True)
class PretrainConfig(AdamWConfig):
    """Training of a plain Whisper from nothing.

    smoothing: of labels. noise: share of the tokens before a label that are replaced by others, so that the decoder
    listens instead of guessing. phones: weight of a head on the encoder that says which phone is being spoken.
    guidance: weight of showing half of the last layer's heads where in the sound each token lies.
    """

    smoothing: float = 0.1
    noise: float = 0.1
    phones: float = 0.5
    guidance: float = 0.5


@dataclass(frozen=True)
class TuneConfig(AdamWConfig):
    """Causal fine-tuning. prefixes: of each utterance in one step, the whole of it among them."""

    prefixes: int = 4

    def __post_init__(self) -> None:
        if self.prefixes < 1:
            raise SpeechError(f"expected train.optim.prefixes of at least 1, got {self.prefixes}: correct it")


@dataclass(frozen=True)
class LoRAConfig:
    """rank, and the factor by which updates are scaled times it (default: rank, a factor of 1)."""

    rank: int = 32
    alpha: float | None = None


@dataclass(frozen=True)
class ChunkConfig:
    """The chunks that one model learns, in encoder frames of 20 ms, the first its default; one is drawn for a batch.

    initial: frames that a stream's first step brings at least. sinks: first frames that stay visible for ever.
    """

    sizes: tuple[int, ...] = (15, 10, 30, 50)
    initial: int = 30
    sinks: int = 0

    def contexts(self, positions: int) -> tuple[Context, ...]:
        """Block-causal contexts for a model of so many positions."""
        return tuple(
            Context.causal(size, -(-self.initial // size) * size, positions, self.sinks) for size in self.sizes
        )


@dataclass(frozen=True)
class EvaluationConfig:
    """seconds: of padded audio at a time. longest: utterances beyond so many seconds are left out. every: score every
    n-th of the others only. chunk: milliseconds, null for the default. window: seconds to which silence fills up what
    plain Whisper hears; it was trained so where it is public, and not where stage `pretrain` made it. renew: last ids
    that are fed again with every chunk, see `Request`.
    """

    seconds: float = 120.0
    longest: float = 10.0
    every: int = 1
    chunk: int | None = None
    window: float = 0.0
    renew: int | None = Request.renew


@dataclass(frozen=True)
class WhisperSettings(BaseSettings):
    """One run of the recipe."""

    align: AlignConfig
    plain: WhisperConfig
    chunks: ChunkConfig
    lora: LoRAConfig | None
    pretrain_optim: PretrainConfig
    pretrain_crops: CropConfig
    train_optim: TuneConfig
    train_crops: CropConfig
    augment: AugmentConfig
    mask: SpecAugmentConfig
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    @property
    def init_from(self) -> Path | None:
        """The Whisper that is fine-tuned; None for the one that stage `pretrain` makes."""
        return Path(self.raw.init_from) if self.raw.init_from else None

    @property
    def tokenizer(self) -> Path:
        """A tokenizer of Whisper or a folder that holds one: given, beside the weights, or learnt by `prepare`."""
        if self.raw.tokenizer.path:
            return Path(self.raw.tokenizer.path)
        if self.init_from:
            return self.init_from if self.init_from.is_dir() else self.init_from.parent
        return self.work / "tokenizer.json"

    @property
    def vocabulary(self) -> Path:
        return self.work / "vocabulary.json"


def compose_settings(overrides: list[str]) -> WhisperSettings:
    """`conf/causal_whisper.yaml` under Hydra overrides. Raises SpeechError for an override that does not fit."""
    raw = compose_raw("causal_whisper", overrides)
    return WhisperSettings(
        raw,
        align=typed(AlignConfig, raw.align, "align"),
        plain=typed(WhisperConfig, raw.pretrain.model, "pretrain.model"),
        chunks=typed(ChunkConfig, raw.train.chunks, "train.chunks"),
        lora=typed(LoRAConfig, raw.train.lora, "train.lora") if raw.train.lora else None,
        pretrain_optim=typed(PretrainConfig, raw.pretrain.optim, "pretrain.optim"),
        pretrain_crops=typed(CropConfig, raw.pretrain.crops, "pretrain.crops"),
        train_optim=typed(TuneConfig, raw.train.optim, "train.optim"),
        train_crops=typed(CropConfig, raw.train.crops, "train.crops"),
        augment=typed(AugmentConfig, raw.augment.waveform, "augment.waveform"),
        mask=typed(SpecAugmentConfig, raw.augment.features, "augment.features"),
        evaluation=typed(EvaluationConfig, raw.evaluation, "evaluation"),
    )
