"""The composed Hydra configuration as typed objects."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from omegaconf import DictConfig

from recipes.common.optim import AdamWConfig
from recipes.common.settings import BaseSettings, compose_raw, typed
from recipes.tts_small.adversarial import VocoderOptimConfig
from recipes.tts_small.content_training import ContentOptimConfig
from recipes.tts_small.discriminators import DiscriminatorConfig
from recipes.tts_small.flow_training import FlowOptimConfig
from recipes.tts_small.lm_training import LMBatchConfig
from recipes.tts_small.pools import StretchConfig
from recipes.tts_small.segments import SegmentConfig
from recipes.tts_small.speaker_training import SpeakerOptimConfig
from speech.audio.mel import MelConfig
from speech.content.campplus import CAMPPlusConfig
from speech.content.encoder import ContentConfig
from speech.flow.dit import DiTConfig
from speech.flow.encoder import EncoderConfig
from speech.flow.layers import Context
from speech.flow.model import FlowConfig
from speech.flow.solver import Sampling
from speech.tts.layout import Vocabulary
from speech.tts.lm import TextSpeechConfig
from speech.tts.qwen2 import Qwen2Config
from speech.tts.sampling import SamplingConfig
from speech.tts.text.inventory import SYMBOLS
from speech.tts.voice import Voice
from speech.vocoder.hift import HiFTConfig


@dataclass(frozen=True)
class SpeechSettings(BaseSettings):
    """What synthesisers and converters have in common: mel frames, vocoder, content and speaker encoder."""

    mel: MelConfig
    vocoder: HiFTConfig
    discriminators: DiscriminatorConfig
    vocoder_optim: VocoderOptimConfig
    segments: SegmentConfig
    content: ContentConfig
    content_optim: ContentOptimConfig
    content_crops: StretchConfig
    speaker: CAMPPlusConfig
    speaker_optim: SpeakerOptimConfig
    speaker_crops: StretchConfig


@dataclass(frozen=True)
class Settings(SpeechSettings):
    """One run of the recipe. What the language model knows of symbols, codes and voices follows from the data."""

    decoder: Qwen2Config
    lm_optim: AdamWConfig
    lm_batch: LMBatchConfig
    sampling: SamplingConfig
    flow: FlowConfig
    flow_optim: FlowOptimConfig
    flow_crops: StretchConfig

    @property
    def codes(self) -> int:
        """How many speech codes there are."""
        return prod(self.content.levels)

    @property
    def first_voice(self) -> int:
        """The row of the first reading voice in the language model's table of voices."""
        return 1

    def language_model(self, voices: int) -> TextSpeechConfig:
        """The language model with so many rows in its table of voices."""
        vocabulary = Vocabulary.beside(len(SYMBOLS), self.codes, self.raw.lm.ahead, voices)
        return TextSpeechConfig(vocabulary, self.decoder, draft_heads=self.raw.lm.draft_heads)

    def other_voices(self) -> dict[str, Voice]:
        """Voices that the model has besides those that are read here."""
        return {}


def compose_settings(overrides: list[str]) -> Settings:
    """`conf/tts_small.yaml` under Hydra overrides. Raises SpeechError for an override that does not fit."""
    raw = compose_raw("tts_small", overrides)
    content = typed(ContentConfig, raw.content.model, "content.model")
    speaker = typed(CAMPPlusConfig, raw.speaker.model, "speaker.model")
    flow = FlowConfig(
        vocabulary=prod(content.levels),
        speaker=speaker.dim,
        encoder=typed(EncoderConfig, raw.flow.model.encoder, "flow.model.encoder"),
        estimator=typed(DiTConfig, raw.flow.model.estimator, "flow.model.estimator"),
        context=typed(Context, raw.flow.model.context, "flow.model.context"),
        sampling=typed(Sampling, raw.flow.model.sampling, "flow.model.sampling"),
        symbols=len(SYMBOLS),
    )
    return Settings(
        raw,
        mel=typed(MelConfig, raw.mel, "mel"),
        vocoder=typed(HiFTConfig, raw.vocoder.model, "vocoder.model"),
        content=content,
        speaker=speaker,
        decoder=typed(Qwen2Config, raw.lm.decoder, "lm.decoder"),
        sampling=typed(SamplingConfig, raw.lm.sampling, "lm.sampling"),
        flow=flow,
        **training(raw),
    )


def training(raw: DictConfig) -> dict[str, Any]:
    """Those fields of `Settings` that say how the parts are trained, and nothing of the parts."""
    return {
        **shared_training(raw),
        "lm_optim": typed(AdamWConfig, raw.lm.optim, "lm.optim"),
        "lm_batch": typed(LMBatchConfig, raw.lm.batch, "lm.batch"),
        "flow_optim": typed(FlowOptimConfig, raw.flow.optim, "flow.optim"),
        "flow_crops": typed(StretchConfig, raw.flow.crops, "flow.crops"),
    }


def shared_training(raw: DictConfig) -> dict[str, Any]:
    """The fields of `training` for the parts that a converter has, too: vocoder, content and speaker encoder."""
    return {
        "discriminators": typed(DiscriminatorConfig, raw.vocoder.discriminators, "vocoder.discriminators"),
        "vocoder_optim": typed(VocoderOptimConfig, raw.vocoder.optim, "vocoder.optim"),
        "segments": typed(SegmentConfig, raw.vocoder.segments, "vocoder.segments"),
        "content_optim": typed(ContentOptimConfig, raw.content.optim, "content.optim"),
        "content_crops": typed(StretchConfig, raw.content.crops, "content.crops"),
        "speaker_optim": typed(SpeakerOptimConfig, raw.speaker.optim, "speaker.optim"),
        "speaker_crops": typed(StretchConfig, raw.speaker.crops, "speaker.crops"),
    }
