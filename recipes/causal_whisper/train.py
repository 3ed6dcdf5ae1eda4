"""Stage `train`: causal fine-tuning by the losses of prefixes, of low-rank updates or of all weights."""

from __future__ import annotations

from recipes.causal_whisper.data import crops
from recipes.causal_whisper.module import PrefixTraining
from recipes.causal_whisper.settings import WhisperSettings
from recipes.causal_whisper.vocabulary import Vocabulary
from recipes.causal_whisper.weights import causal, plain
from recipes.tts_small.parts import train as train_part
from speech.asr.whisper.lora import adapt


def train(settings: WhisperSettings) -> None:
    """Train until `train.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint."""
    model = causal(settings, plain(settings)[0]).train()
    if settings.lora:
        adapt(model, settings.lora.rank, settings.lora.alpha)
    module = PrefixTraining(model, Vocabulary.read(settings.vocabulary), settings.train_optim, settings.mask)
    train_part(settings, "train", module, crops(settings, module, settings.train_crops), settings.train_optim)
