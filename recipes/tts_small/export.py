"""Stage `export`: the trained parts as one checkpoint folder with its voices and its model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recipes.common.prepare import cache, hours
from recipes.tts_small.assemble import assemble, preset_voices
from recipes.tts_small.copy_synthesis import table
from recipes.tts_small.settings import Settings
from speech.hub.checkpoint import VOICES, save
from speech.tts.model import SynthesiserModel
from speech.tts.voice import pack_voices


def export(settings: Settings) -> None:
    """Write `model.safetensors` (float16), `config.yaml`, `voices.safetensors` and `README.md` to `export.folder`."""
    model, positions = assemble(settings)
    voices = preset_voices(settings)
    text = card(settings, model, positions, list(voices))
    folder = save(Path(settings.raw.export.folder), model, text, {VOICES: pack_voices(voices)})
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"{folder}: {millions(model)} M parameters, {size:.1f} MB, voices {', '.join(voices)}", flush=True)


def card(settings: Settings, model: SynthesiserModel, positions: dict[str, dict[str, Any]], voices: list[str]) -> str:
    """The model card: what it is, what it heard, how it was trained, how well it speaks, its licence."""
    options, sampling = settings.raw.export, settings.flow.sampling
    parts = {"content": model.tokenizer, "speaker": model.speaker, "lm": model.lm, "flow": model.flow}
    parts["vocoder"] = model.vocoder
    data = [f"| {name} | {hours(cache(settings, name).cuts()):.2f} |" for name in settings.raw.data.train]
    trained = [
        f"| {name} | {millions(part)} | {positions[name]['steps']} | {positions[name]['audio_hours']:.1f} | "
        f"{positions[name]['hardware']} |"
        for name, part in parts.items()
    ]
    lines = [
        "---",
        f"license: {options.licence_id}",
        "language: en",
        "pipeline_tag: text-to-speech",
        "---",
        f"# {options.title}",
        "",
        f"A streaming synthesiser of {millions(model)} M parameters at {model.vocoder.sample_rate / 1000:g} kHz:",
        f"phonemes to {settings.codes} speech codes, 25 a second; codes to mel frames by a flow of {sampling.steps}",
        f"evaluations; mel frames to samples by a source-filter vocoder. Voices: {', '.join(voices)}.",
        "",
        "## Training data",
        "",
        "| corpus | hours |",
        "|---|---|",
        *data,
        "",
        settings.raw.data.note,
        "",
        "## Training",
        "",
        "| part | M parameters | steps | hours heard, repetition counted | hardware |",
        "|---|---|---|---|---|",
        *trained,
        "",
        "## Scores",
        "",
        scores(settings),
        "",
        "## Licence",
        "",
        options.licence,
    ]
    return "\n".join(lines) + "\n"


def scores(settings: Settings) -> str:
    """The table that stage `evaluate` made, or a plain word that it has not run."""
    path = settings.work / "scores.json"
    if not path.is_file():
        return "Not measured yet (stage=evaluate)."
    return (
        "Word error rates in percent of sentences that were not in training, under pocketsphinx and under the bundled\n"
        f"recogniser; times of one thread.\n\n{table(json.loads(path.read_text()))}"
    )


def millions(model: Any) -> str:
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}"
