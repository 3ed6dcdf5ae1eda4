"""Stage `export`: the trained parts as one checkpoint folder with example targets and its model card."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from recipes.common.cache import RATE
from recipes.common.card import millions, model_card, trained_parts, write
from recipes.common.prepare import cache
from recipes.tts_small.copy_synthesis import table
from recipes.vc_small.assemble import PARTS, assemble, latency
from recipes.vc_small.pairs import owner
from recipes.vc_small.settings import ConverterSettings
from speech.audio.file import Audio
from speech.hub.checkpoint import TARGETS
from speech.vc.model import ConverterModel
from speech.vc.voice import SHORTEST, TargetVoice, pack_targets, take_up

RECORDINGS, SECONDS = 3, 10.0
"""Recordings that an example target is made of, and seconds of mel frames that are kept of them."""


def export(settings: ConverterSettings) -> None:
    """Write `model.safetensors` (float16), `config.yaml`, `targets.safetensors` and `README.md` to `export.folder`."""
    model, positions = assemble(settings)
    targets = example_targets(settings, model)
    text = card(settings, model, positions, list(targets))
    write(settings, model, text, {TARGETS: pack_targets(targets)} if targets else {}, {"targets": targets})


def example_targets(settings: ConverterSettings, model: ConverterModel) -> dict[str, TargetVoice]:
    """Speakers of the reading corpora by name, in the order of the corpora, each of his longest recordings."""
    spoken = defaultdict(list)
    for name in settings.raw.data.reading:
        audio = cache(settings, name)
        for cut in audio.cuts():
            if cut.duration >= SHORTEST:
                spoken[owner(cut)].append((cut.duration, cut.id, audio.audio(cut)))
    targets = {}
    for name in list(spoken)[: settings.raw.export.targets]:
        longest = sorted(spoken[name], key=lambda row: row[:2], reverse=True)[:RECORDINGS]
        recordings = [Audio(samples, RATE) for *_, samples in longest]
        targets[name] = take_up(recordings, model, SECONDS)
    return targets


def card(
    settings: ConverterSettings, model: ConverterModel, positions: dict[str, dict[str, Any]], targets: list[str]
) -> str:
    """The model card: what it is, what it heard, how it was trained, how well it converts, its licence."""
    delay = latency(settings)
    return model_card(
        settings,
        tag="audio-to-audio",
        what=[
            f"A streaming converter of {millions(model)} M parameters at {model.vocoder.sample_rate / 1000:g} kHz:",
            "samples to phones and tune, 25 times a second; these and a recording of the target to mel frames by a",
            f"mean flow of {model.config.network.sampling.steps} evaluations a chunk; mel frames to samples by a",
            f"source-filter vocoder. Its delay is {1e3 * delay.total:.1f} ms, computing aside. Example targets:",
            f"{', '.join(targets) or 'none'}.",
        ],
        corpora=settings.raw.data.train,
        notes=[settings.raw.data.note],
        training=trained_parts({name: model.get_submodule(name) for name in PARTS}, positions),
        judged="Scores",
        scores=scores(settings),
    )


def scores(settings: ConverterSettings) -> list[str]:
    """The table that stage `evaluate` made, or a plain word that it has not run."""
    path = settings.work / "scores.json"
    if not path.is_file():
        return ["Not measured yet (stage=evaluate)."]
    return [
        "Pairs of speakers that were not in training, converted live by one thread. Word error rates in percent;",
        "similarities are cosines of Resemblyzer's vectors.",
        "",
        table(json.loads(path.read_text())),
    ]
