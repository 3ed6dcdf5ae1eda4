"""Stage `export`: the trained parts as one checkpoint folder with its voices and its model card."""

from __future__ import annotations

import json
from typing import Any

from recipes.common.card import millions, model_card, trained_parts, write
from recipes.tts_small.assemble import assemble, speaking
from recipes.tts_small.copy_synthesis import table
from recipes.tts_small.settings import Settings
from speech.hub.checkpoint import VOICES
from speech.tts.model import SynthesiserModel
from speech.tts.voice import pack_voices


def export(settings: Settings) -> None:
    """Write `model.safetensors` (float16), `config.yaml`, `voices.safetensors` and `README.md` to `export.folder`."""
    model, positions = assemble(settings)
    _, voices = speaking(settings, model)
    text = card(settings, model, positions, list(voices))
    write(settings, model, text, {VOICES: pack_voices(voices)}, {"voices": voices})


def card(settings: Settings, model: SynthesiserModel, positions: dict[str, dict[str, Any]], voices: list[str]) -> str:
    """The model card: what it is, what it heard, how it was trained, how well it speaks, its licence."""
    steps = settings.flow.sampling.steps
    parts = {"content": model.tokenizer, "speaker": model.speaker, "lm": model.lm, "flow": model.flow}
    parts["vocoder"] = model.vocoder
    return model_card(
        settings,
        tag="text-to-speech",
        what=[
            f"A streaming synthesiser of {millions(model)} M parameters at {model.vocoder.sample_rate / 1000:g} kHz:",
            f"phonemes to {settings.codes} speech codes, 25 a second; codes to mel frames by a flow of {steps}",
            f"evaluations; mel frames to samples by a source-filter vocoder. Voices: {', '.join(voices)}.",
        ],
        corpora=settings.raw.data.train,
        notes=[settings.raw.data.note],
        training=trained_parts(parts, positions),
        judged="Scores",
        scores=scores(settings),
    )


def scores(settings: Settings) -> list[str]:
    """The table that stage `evaluate` made, or a plain word that it has not run."""
    path = settings.work / "scores.json"
    if not path.is_file():
        return ["Not measured yet (stage=evaluate)."]
    return [
        "Word error rates in percent of sentences that were not in training, under pocketsphinx and under the bundled",
        "recogniser; times of one thread.",
        "",
        table(json.loads(path.read_text())),
    ]
