"""Stage `export`: the fine-tuned model as a checkpoint folder with its model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recipes.causal_whisper.evaluate import table
from recipes.causal_whisper.settings import WhisperSettings
from recipes.causal_whisper.vocabulary import Vocabulary
from recipes.causal_whisper.weights import tuned
from recipes.common.prepare import cache, hours
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.tokenizer import WhisperTokenizer
from speech.hub.checkpoint import TEXT_TOKENIZER, save


def export(settings: WhisperSettings) -> None:
    """Write `model.safetensors` (float16), `config.yaml`, `tokenizer.json` and `README.md` to `export.folder`."""
    vocabulary = Vocabulary.read(settings.vocabulary)
    tokenizer = WhisperTokenizer.load(settings.tokenizer, vocabulary.symbols)
    model, position = tuned(settings)
    model = vocabulary.expanded(model)
    files = {TEXT_TOKENIZER: tokenizer.to_json().encode()}
    folder = save(Path(settings.raw.export.folder), model, card(settings, model, position), files)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"{folder}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {size:.1f} MB", flush=True)


def card(settings: WhisperSettings, model: Whisper, position: dict[str, Any]) -> str:
    """The model card: what it is, what it heard, how it was trained, how well it does, its licence."""
    options, c = settings.raw.export, model.config
    chunks = ", ".join(str(context.milliseconds) for context in c.contexts)
    rows = [f"| {name} | {hours(cache(settings, name).cuts()):.2f} |" for name in settings.raw.data.train]
    start = settings.init_from.name if settings.init_from else "a model that the recipe trained from nothing"
    updates = f"low-rank updates of rank {settings.lora.rank}" if settings.lora else "all weights"
    lines = [
        "---",
        f"license: {options.licence_id}",
        "language: en",
        "---",
        f"# {options.title}",
        "",
        f"A Whisper ({c.encoder_layers} + {c.decoder_layers} layers of {c.dim}) that writes while it listens, in",
        f"chunks of {chunks} ms by one set of weights. It writes lower-case English words with apostrophes.",
        "",
        "## Training data",
        "",
        "| corpus | hours |",
        "|---|---|",
        *rows,
        "",
        settings.raw.data.note,
        "",
        "## Training",
        "",
        f"Fine-tuned from {start}: {updates}, by the losses of {settings.train_optim.prefixes} prefixes",
        f"of every utterance. {position['steps']} steps; {position['audio_hours']:.0f} hours of augmented speech",
        f"heard, every utterance many times. Hardware: {position['hardware']}.",
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


def scores(settings: WhisperSettings) -> str:
    """The table that stage `evaluate` made, or a plain word that it has not run."""
    path = settings.work / "scores.json"
    if not path.is_file():
        return "Not measured yet (stage=evaluate)."
    tree = json.loads(path.read_text())
    return table(tree["scores"], tree["chunk_ms"])
