"""Where weights come from: a Whisper on disk or stage `pretrain`, and what stage `train` made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from recipes.causal_whisper.settings import WhisperSettings
from recipes.causal_whisper.vocabulary import Vocabulary
from recipes.tts_small.parts import trained
from speech.asr.whisper.lora import adapt, merge
from speech.asr.whisper.model import Whisper
from speech.errors import SpeechError
from speech.hub.checkpoint import CONFIG, load_folder
from speech.hub.whisper.weights import load_whisper


def read_whisper(path: Path) -> Whisper:
    """A Whisper of any form: a checkpoint folder of ours, a Hugging Face folder, or a `.pt` file.

    Raises SpeechError where there is none.
    """
    if not (path / CONFIG).is_file():
        return load_whisper(path)
    model = load_folder(path).model
    if not isinstance(model, Whisper):
        raise SpeechError(f"expected init_from to name a Whisper, {path} holds a {type(model).__name__}: take another")
    return model


def fresh(settings: WhisperSettings) -> Whisper:
    """The Whisper that stage `pretrain` trains, on the rows of its vocabulary, with random weights."""
    return Whisper(replace(settings.plain, vocabulary=Vocabulary.read(settings.vocabulary).rows))


def plain(settings: WhisperSettings) -> tuple[Whisper, dict[str, Any]]:
    """The Whisper that is fine-tuned, and what is known of its making. Raises SpeechError where there is none yet."""
    if settings.init_from:
        return read_whisper(settings.init_from), {"steps": 0, "batches": 0, "audio_hours": 0.0, "hardware": "unknown"}
    return trained(settings, "pretrain", fresh(settings))


def causal(settings: WhisperSettings, model: Whisper) -> Whisper:
    """The same weights under the masks of chunks, with features that can be streamed, the exact ones."""
    config = model.config
    mel, contexts = replace(config.mel, peak="running"), settings.chunks.contexts(config.positions)
    other = Whisper(replace(config, mel=mel, contexts=contexts, compatible=False))
    other.load_state_dict(model.state_dict())
    return other.train(model.training)


def tuned(settings: WhisperSettings) -> tuple[Whisper, dict[str, Any]]:
    """What stage `train` has made, updates merged into the weights. Raises SpeechError before it has run."""
    model = causal(settings, plain(settings)[0])
    if settings.lora:
        adapt(model, settings.lora.rank, settings.lora.alpha)
    model, position = trained(settings, "train", model)
    merge(model)
    return model.eval(), position
