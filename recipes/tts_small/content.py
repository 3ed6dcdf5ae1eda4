"""Stage `content`: trains the content encoder, whose codes the language model writes and the flow reads."""

from __future__ import annotations

from recipes.tts_small.content_training import CLASSES, ContentStretches, ContentTraining
from recipes.tts_small.parts import train, trained
from recipes.tts_small.pools import Pool, pools, stretch_data
from recipes.tts_small.settings import Settings
from recipes.tts_small.tracks import load_phones
from speech.content.encoder import ContentEncoder
from speech.errors import SpeechError


def content(settings: Settings) -> None:
    """Train until `content.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    module = ContentTraining(fresh_encoder(settings), settings.content_optim)
    config = settings.content_crops
    data = stretch_data(settings, module, ContentStretches, aligned(pools(settings, config.reading)), config)
    train(settings, "content", module, data, settings.content_optim)


def aligned(pools: list[Pool]) -> list[Pool]:
    """The pools with their phones. Raises SpeechError before stage `align`."""
    return [pool._replace(phones=load_phones(pool.audio)) for pool in pools]


def fresh_encoder(settings: Settings) -> ContentEncoder:
    """The configured encoder with random weights. Raises SpeechError where it does not fit the phones."""
    config = settings.content
    if config.vocabulary != len(CLASSES) or not config.levels:
        raise SpeechError(
            f"expected content.model with a bottleneck and a vocabulary of {len(CLASSES)} phones, got levels "
            f"{list(config.levels)} and a vocabulary of {config.vocabulary}: correct them"
        )
    return ContentEncoder(config)


def trained_encoder(settings: Settings) -> ContentEncoder:
    """The averaged encoder of the newest checkpoint, in evaluation mode. Raises SpeechError without one."""
    return trained(settings, "content", ContentEncoder(settings.content))[0]
