"""Stage `post`: trains the network for one step, against a discriminator; takes up what stage `convert` made."""

from __future__ import annotations

from recipes.tts_small.parts import train, trained
from recipes.vc_small.convert import ears, pairs_data
from recipes.vc_small.post_training import PostTraining
from recipes.vc_small.settings import ConverterSettings
from speech.vc.network import ConverterNetwork


def post(settings: ConverterSettings) -> None:
    """Train until `post.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    network, optim = trained(settings, "convert", ConverterNetwork(settings.network))[0], settings.post_optim
    module = PostTraining(network.train(), ears(settings), optim, settings.perturb, settings.convert_crops.margin)
    train(settings, "post", module, pairs_data(settings, module), optim)
