"""The composed Hydra configuration as typed objects."""

from __future__ import annotations

from dataclasses import dataclass, replace

from recipes.common.settings import compose_raw, typed
from recipes.tts_small.content_training import CLASSES
from recipes.tts_small.settings import SpeechSettings, shared_training
from recipes.vc_small.convert_training import ConvertOptimConfig
from recipes.vc_small.pairs import PairConfig
from recipes.vc_small.perturb import PerturbConfig
from recipes.vc_small.post_training import PostOptimConfig
from speech.audio.mel import MelConfig
from speech.content.campplus import CAMPPlusConfig
from speech.content.encoder import ContentConfig
from speech.errors import SpeechError
from speech.vc.matching import MatchConfig
from speech.vc.model import ConverterModelConfig
from speech.vc.network import ConverterConfig
from speech.vocoder.hift import HiFTConfig


@dataclass(frozen=True)
class ConverterSettings(SpeechSettings):
    """One run of the recipe. Stages that are `tts_small`'s find their parts under the same names."""

    network: ConverterConfig
    matching: MatchConfig | None
    convert_optim: ConvertOptimConfig
    convert_crops: PairConfig
    perturb: PerturbConfig
    post_optim: PostOptimConfig

    @property
    def model(self) -> ConverterModelConfig:
        """All parts together. Raises SpeechError where they do not fit one another."""
        return ConverterModelConfig(
            self.content, "said", self.network, (1.0, 0.0), self.vocoder, self.mel, self.speaker, self.matching
        )


def compose_settings(overrides: list[str]) -> ConverterSettings:
    """`conf/vc_small.yaml` under Hydra overrides. Raises SpeechError for an override that does not fit."""
    raw = compose_raw("vc_small", overrides)
    mel = typed(MelConfig, raw.mel, "mel")
    content = typed(ContentConfig, raw.content.model, "content.model")
    speaker = typed(CAMPPlusConfig, raw.speaker.model, "speaker.model")
    if content.vocabulary != len(CLASSES) or not content.tune:
        raise SpeechError(
            f"expected content.model with a tune and a vocabulary of {len(CLASSES)} phones, got tune {content.tune} "
            f"and a vocabulary of {content.vocabulary}: correct them"
        )
    network = typed(ConverterConfig, raw.convert.model, "convert.model")
    settings = ConverterSettings(
        raw,
        mel=mel,
        vocoder=typed(HiFTConfig, raw.vocoder.model, "vocoder.model"),
        content=content,
        speaker=speaker,
        network=replace(network, given=content.width("said"), speaker=speaker.dim, mel=mel.features),
        matching=typed(MatchConfig, raw.convert.matching, "convert.matching") if raw.convert.matching else None,
        convert_optim=typed(ConvertOptimConfig, raw.convert.optim, "convert.optim"),
        convert_crops=typed(PairConfig, raw.convert.crops, "convert.crops"),
        perturb=typed(PerturbConfig, raw.convert.perturb, "convert.perturb"),
        post_optim=typed(PostOptimConfig, raw.post.optim, "post.optim"),
        **shared_training(raw),
    )
    for chunk in (*settings.convert_optim.chunks, *settings.post_optim.chunks):
        replace(settings.network, chunk=chunk)  # raises where a chunk does not fit
    return settings
