"""Stage `pretrain`: a small plain Whisper from nothing, so that there is one to fine-tune."""

from __future__ import annotations

import logging

import torch

from recipes.causal_whisper.data import crops
from recipes.causal_whisper.module import Pretraining
from recipes.causal_whisper.settings import WhisperSettings
from recipes.causal_whisper.vocabulary import Vocabulary
from recipes.causal_whisper.weights import fresh
from recipes.tts_small.parts import train as train_part
from speech.asr.whisper.model import Whisper
from speech.streaming.attention import Attention

log = logging.getLogger(__name__)

SHARPNESS = 1.0
"""Standard deviation of queries and keys at first: a frame's score with itself is about this squared times 8."""


def pretrain(settings: WhisperSettings) -> None:
    """Train until `pretrain.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint.

    Nothing is done where `init_from` names a Whisper.
    """
    if settings.init_from:
        log.info("pretrain: nothing to do, %s is fine-tuned", settings.init_from)
        return
    torch.manual_seed(settings.raw.seed)
    model, vocabulary = fresh(settings), Vocabulary.read(settings.vocabulary)
    initialise(model)
    module = Pretraining(model, vocabulary, settings.pretrain_optim, settings.mask)
    train_part(settings, "pretrain", module, crops(settings, module, settings.pretrain_crops), settings.pretrain_optim)


@torch.no_grad()
def initialise(model: Whisper) -> None:
    """Weights to begin with, where PyTorch's own would learn slowly.

    Queries and keys of the encoder begin alike, so that a frame attends to frames like itself, and those are near: the
    vectors of near positions are. The embedding, which is the output layer too, gives logits of about unit size.
    """
    dim = model.config.dim
    for layer in model.encoder.modules():
        if isinstance(layer, Attention):
            query, key, _ = layer.qkv.weight.split(layer.widths)
            torch.nn.init.normal_(query, std=SHARPNESS * dim**-0.5)
            key.copy_(query)
    torch.nn.init.normal_(model.decoder.embed.weight, std=dim**-0.5)
    torch.nn.init.normal_(model.decoder.positions.weight, std=0.02)
