"""Stage `content`: trains the content encoder, whose phones and tune are all that the network is told."""

from __future__ import annotations

from recipes.tts_small.content import aligned
from recipes.tts_small.content_training import ContentStretches, ContentTraining
from recipes.tts_small.parts import train
from recipes.tts_small.pools import pools, stretch_data
from recipes.vc_small.settings import ConverterSettings
from speech.content.encoder import ContentEncoder


def content(settings: ConverterSettings) -> None:
    """Train until `content.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    module = ContentTraining(ContentEncoder(settings.content), settings.content_optim)
    config = settings.content_crops
    data = stretch_data(settings, module, ContentStretches, aligned(pools(settings, config.reading)), config)
    train(settings, "content", module, data, settings.content_optim)
