"""Stage `convert`: trains the network, which makes mel frames of what is said in the voice of a reference."""

from __future__ import annotations

import logging

from recipes.tts_small.content import aligned
from recipes.tts_small.parts import train, trained
from recipes.tts_small.pools import Numbered, pools, stretch_data
from recipes.vc_small.assemble import latency
from recipes.vc_small.convert_training import ConvertTraining
from recipes.vc_small.pairs import Pairs
from recipes.vc_small.part import Ears, NetworkPart
from recipes.vc_small.settings import ConverterSettings
from speech.audio.mel import LogMel
from speech.content.campplus import CAMPPlus
from speech.content.encoder import ContentEncoder
from speech.vc.network import ConverterNetwork

log = logging.getLogger(__name__)


def convert(settings: ConverterSettings) -> None:
    """Train until `convert.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    delay = latency(settings)
    log.info(
        "convert: algorithmic latency %.1f ms: chunk %.1f, look-ahead %.1f, vocoder %.1f",
        *(1e3 * seconds for seconds in (delay.total, delay.chunk, delay.look_ahead, delay.vocoder)),
    )
    network, optim = ConverterNetwork(settings.network), settings.convert_optim
    module = ConvertTraining(network, ears(settings), optim, settings.perturb, settings.convert_crops.margin)
    train(settings, "convert", module, pairs_data(settings, module), optim)


def ears(settings: ConverterSettings) -> Ears:
    """The trained encoders. Raises SpeechError before stages `content` and `speaker`."""
    content = trained(settings, "content", ContentEncoder(settings.content))[0]
    speaker = trained(settings, "speaker", CAMPPlus(settings.speaker))[0]
    return Ears(content.requires_grad_(False), speaker.requires_grad_(False), LogMel(settings.mel))


def pairs_data(settings: ConverterSettings, module: NetworkPart) -> Numbered:
    """Stretches and references of all training corpora, as `module` trains on them; with phones if it listens."""
    config = settings.convert_crops
    found = pools(settings, config.reading)
    if settings.convert_optim.listen.share:
        found = aligned(found)
    return stretch_data(settings, module, Pairs, found, config)
