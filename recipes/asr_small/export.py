"""Stage `export`: the trained model as a checkpoint folder with its model card."""

from __future__ import annotations

import json
from typing import Any

from recipes.asr_small.evaluate import table
from recipes.asr_small.optim import loss_weights
from recipes.asr_small.prepare import training_corpora
from recipes.asr_small.settings import Settings
from recipes.asr_small.weights import trained
from recipes.common.card import model_card, write
from speech.hub.checkpoint import tokenizer_named


def export(settings: Settings) -> None:
    """Write `model.safetensors` (float16), `config.yaml`, `tokenizer.model` and `README.md` to `export.folder`."""
    model, position = trained(settings)
    write(settings, model, card(settings, position), tokenizer_named(settings.tokenizer), {})


def card(settings: Settings, position: dict[str, Any]) -> str:
    """The model card: what it is, what it heard, how it was trained, how well it does, its licence."""
    encoder, corpora = settings.model.encoder, training_corpora(settings)
    weights = loss_weights(settings.optim.steps, settings.optim)
    share = settings.raw.data.synthetic_share if "synthetic" in corpora else 0.0
    return model_card(
        settings,
        tag="automatic-speech-recognition",
        what=[
            f"A streaming FastConformer ({encoder.layers} layers of {encoder.dim}), look-aheads",
            f"{', '.join(map(str, settings.model.look_aheads))} ms in one set of weights. It writes lower-case English",
            "words with apostrophes.",
        ],
        corpora=corpora,
        notes=[
            settings.raw.export.data_note,
            *([f"Synthetic speech is {share:.0%} of what the model heard."] if share else []),
        ],
        training=[
            f"{position['steps']} steps; {position['audio_hours']:.0f} hours of augmented speech heard, every",
            f"utterance many times. Hardware: {position['hardware']}. Losses at the end, with their weights:",
            f"{', '.join(f'{name} {weight:g}' for name, weight in weights.items() if weight)}.",
        ],
        judged="Word error rates",
        scores=[
            "Greedy decoding, no language model; streaming gives the same words as decoding whole files.",
            "",
            scores(settings),
        ],
    )


def scores(settings: Settings) -> str:
    """The table that stage `evaluate` made, or a plain word that it has not run."""
    path = settings.work / "scores.json"
    return table(json.loads(path.read_text())["wer"]) if path.is_file() else "Not measured yet (stage=evaluate)."
