"""The trained parts as one model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from recipes.tts_small.parts import origin, trained
from recipes.vc_small.post_training import ONE_STEP
from recipes.vc_small.settings import ConverterSettings
from speech.content.campplus import CAMPPlus
from speech.content.encoder import ContentEncoder
from speech.vc.converter import Converter
from speech.vc.model import ConverterModel
from speech.vc.network import ConverterNetwork
from speech.vc.session import Latency
from speech.vocoder.hift import HiFT

PARTS = ("content", "speaker", "network", "vocoder")


def assemble(settings: ConverterSettings) -> tuple[ConverterModel, dict[str, dict[str, Any]]]:
    """The averaged weights of all newest checkpoints as one model in evaluation mode; and by part, how long it trained.

    The network is that of stage `post`, and takes one step, or before that stage that of `convert`. Raises SpeechError
    for a part without a checkpoint.
    """
    stage, config = "convert", settings.model
    if origin(settings, "post"):
        stage, config = "post", replace(config, network=replace(config.network, sampling=ONE_STEP))
    fresh: dict[str, tuple[str, nn.Module]] = {
        "content": ("content", ContentEncoder(settings.content)),
        "speaker": ("speaker", CAMPPlus(settings.speaker)),
        "network": (stage, ConverterNetwork(settings.network)),
        "vocoder": ("vocoder", HiFT(settings.vocoder)),
    }
    model, positions = ConverterModel(config), {}
    for name in PARTS:
        part, positions[name] = trained(settings, *fresh[name])
        model.get_submodule(name).load_state_dict(part.state_dict())
    return model.eval(), positions


def latency(settings: ConverterSettings) -> Latency:
    """The delay of a stream, computing aside, which no weight decides."""
    return Converter(ConverterModel(settings.model).eval()).latency
