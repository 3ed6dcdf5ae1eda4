"""The composed Hydra configuration as typed objects."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

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
from speech.tts.qwen2 import Qwen2Config
from speech.tts.sampling import SamplingConfig
from speech.tts.text.inventory import SYMBOLS
from speech.vocoder.hift import HiFTConfig


@dataclass(frozen=True)
class Settings(BaseSettings):
    """One run of the recipe. What the language model knows of symbols, codes and voices follows from the data."""

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
        discriminators=typed(DiscriminatorConfig, raw.vocoder.discriminators, "vocoder.discriminators"),
        vocoder_optim=typed(VocoderOptimConfig, raw.vocoder.optim, "vocoder.optim"),
        segments=typed(SegmentConfig, raw.vocoder.segments, "vocoder.segments"),
        content=content,
        content_optim=typed(ContentOptimConfig, raw.content.optim, "content.optim"),
        content_crops=typed(StretchConfig, raw.content.crops, "content.crops"),
        speaker=speaker,
        speaker_optim=typed(SpeakerOptimConfig, raw.speaker.optim, "speaker.optim"),
        speaker_crops=typed(StretchConfig, raw.speaker.crops, "speaker.crops"),
        decoder=typed(Qwen2Config, raw.lm.decoder, "lm.decoder"),
        lm_optim=typed(AdamWConfig, raw.lm.optim, "lm.optim"),
        lm_batch=typed(LMBatchConfig, raw.lm.batch, "lm.batch"),
        sampling=typed(SamplingConfig, raw.lm.sampling, "lm.sampling"),
        flow=flow,
        flow_optim=typed(FlowOptimConfig, raw.flow.optim, "flow.optim"),
        flow_crops=typed(StretchConfig, raw.flow.crops, "flow.crops"),
    )
