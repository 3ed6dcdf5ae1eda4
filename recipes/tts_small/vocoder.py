"""Stage `vocoder`: trains the vocoder on recordings; goes on at the very batch where it stopped."""

from __future__ import annotations

import torch
from lightning.pytorch import seed_everything

from recipes.tts_small.adversarial import VocoderTraining
from recipes.tts_small.discriminators import Discriminators
from recipes.tts_small.parts import train, trained
from recipes.tts_small.pools import pools, stretch_data
from recipes.tts_small.segments import Segments
from recipes.tts_small.settings import Settings
from speech.audio.mel import LogMel
from speech.errors import SpeechError
from speech.vocoder.hift import HiFT

F0_LEVEL = 100.0
"""Hz at which the predictor of f0 begins, and how far a unit of its last layer moves it: it learns in Hz."""


def vocoder(settings: Settings) -> None:
    """Train until `vocoder.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    seed_everything(settings.raw.seed, verbose=False)
    model, config = fresh_model(settings), settings.segments
    judges = Discriminators(settings.discriminators)
    module = VocoderTraining(model, LogMel(settings.mel), judges, settings.vocoder_optim, config.margin)
    data = stretch_data(settings, module, Segments, pools(settings, config.reading), config)
    train(settings, "vocoder", module, data, settings.vocoder_optim)


def fresh_model(settings: Settings) -> HiFT:
    """The configured vocoder with random weights. Raises SpeechError where it does not fit the mel frames."""
    config, mel = settings.vocoder, settings.mel
    mine, theirs = (config.sample_rate, config.features, config.hop), (mel.sample_rate, mel.features, mel.hop)
    if mine != theirs:
        raise SpeechError(
            f"expected a vocoder for the mel frames (sample rate, bins, hop) {theirs}, got {mine}: change vocoder.model"
        )
    model = HiFT(config)
    with torch.no_grad():
        model.f0.get_submodule("out").weight.mul_(F0_LEVEL)  # type: ignore[operator]
        model.f0.get_submodule("out").bias.fill_(F0_LEVEL)  # type: ignore[operator]
    return model


def trained_vocoder(settings: Settings) -> HiFT:
    """The averaged vocoder of the newest checkpoint, in evaluation mode. Raises SpeechError without one."""
    return trained(settings, "vocoder", HiFT(settings.vocoder))[0]
