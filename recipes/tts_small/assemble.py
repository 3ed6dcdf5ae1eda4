"""The trained parts as one model with its voices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from recipes.tts_small.level import levelled
from recipes.tts_small.lm import fresh_lm, voice_rows
from recipes.tts_small.parts import trained
from recipes.tts_small.settings import Settings
from recipes.tts_small.speaker import load_vectors
from speech.content.campplus import CAMPPlus
from speech.content.encoder import ContentEncoder
from speech.errors import SpeechError
from speech.flow.model import Flow
from speech.kernels.linear import pack
from speech.tts.model import SynthesiserConfig, SynthesiserModel
from speech.tts.reader import PhonemeReader
from speech.tts.synthesiser import Synthesiser
from speech.tts.text.phonemes import phonemiser
from speech.tts.voice import Voice
from speech.vocoder.hift import HiFT

PARTS = ("content", "speaker", "lm", "flow", "vocoder")


def assemble(settings: Settings) -> tuple[SynthesiserModel, dict[str, dict[str, Any]]]:
    """The averaged weights of all newest checkpoints as one model in evaluation mode; and by part, how long it trained.

    The head of the content encoder has done its work and is left behind. Raises SpeechError for a part without one.
    """
    fresh: dict[str, nn.Module] = {
        "content": ContentEncoder(settings.content),
        "speaker": CAMPPlus(settings.speaker),
        "lm": fresh_lm(settings),
        "flow": Flow(settings.flow),
        "vocoder": HiFT(settings.vocoder),
    }
    parts, positions = {}, {}
    for name in PARTS:
        parts[name], positions[name] = trained(settings, name, fresh[name])
    config = SynthesiserConfig(
        parts["lm"].config,
        settings.flow,
        settings.vocoder,
        text="phonemes",
        sampling=settings.sampling,
        mel=settings.mel,
        tokenizer=replace(settings.content, vocabulary=0),
        speaker=settings.speaker,
    )
    model = SynthesiserModel(config)
    for name in PARTS:
        state = parts[name].state_dict()
        own = model.get_submodule("tokenizer" if name == "content" else name)
        own.load_state_dict({key: x for key, x in state.items() if name != "content" or not key.startswith("head.")})
    return model.eval(), positions


def preset_voices(settings: Settings) -> dict[str, Voice]:
    """The reading voices by the names of their speakers: `data.first`, the others by their corpora, those there were.

    Raises SpeechError where the first is none of them.
    """
    vectors, rows, first = load_vectors(settings), voice_rows(settings), settings.raw.data.first
    if first and first not in rows:
        raise SpeechError(f"expected data.first to be one of the voices {', '.join(rows)}, got {first!r}: correct it")
    names = sorted(rows, key=lambda name: name != first)
    voices = {name: Voice.plain(vectors[name], settings.mel.features, rows[name]) for name in names}
    return voices | {name: voice for name, voice in settings.other_voices().items() if name not in voices}


def speaking(settings: Settings, model: SynthesiserModel) -> tuple[Synthesiser, dict[str, Voice]]:
    """What `assemble` made, laid out to speak as after `speech.load`; and its voices, all equally loud."""
    pack(model)
    reader = PhonemeReader(phonemiser(), model.config.lm.vocabulary)
    voices = levelled(model, reader, preset_voices(settings), settings.raw.export.said)
    return Synthesiser(model, reader, voices), voices
