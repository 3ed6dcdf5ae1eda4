"""Trained models as checkpoint folders with their model cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from recipes.common.prepare import cache, hours
from recipes.common.settings import BaseSettings
from speech.hub.checkpoint import save

TRAINED = ("part", "M parameters", "steps", "hours heard, repetition counted", "hardware")


def write(
    settings: BaseSettings,
    model: nn.Module,
    card: str,
    files: Mapping[str, Path | bytes],
    holds: Mapping[str, Iterable[str]],
) -> None:
    """Write a model to `export.folder` and say what is there. files: what lies beside; holds: names of what they hold,
    by their kind."""
    folder = save(Path(settings.raw.export.folder), model, card, files)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    parts = [f"{millions(model)} M parameters", f"{size:.1f} MB"]
    parts += [f"{kind} {', '.join(names)}" for kind, names in holds.items()]
    print(f"{folder}: {', '.join(parts)}", flush=True)


def model_card(
    settings: BaseSettings,
    *,
    tag: str,
    what: Sequence[str],
    corpora: Iterable[str],
    notes: Sequence[str],
    training: Sequence[str],
    judged: str,
    scores: Sequence[str],
) -> str:
    """What it is, what it heard, how it was trained, how well it does, its licence; what: lines of Markdown, and so on.

    tag: what models of its kind are called. corpora: what it was trained on. judged: heading of the scores.
    """
    options = settings.raw.export
    rows = [(name, f"{hours(cache(settings, name).cuts()):.2f}") for name in corpora]
    sections: dict[str, Sequence[str]] = {
        "Training data": [*table(("corpus", "hours"), rows), "", *notes],
        "Training": training,
        judged: scores,
        "Licence": [options.licence],
    }
    head = ["---", f"license: {options.licence_id}", "language: en", f"pipeline_tag: {tag}", "---"]
    lines = [*head, f"# {options.title}", "", *what]
    for heading, body in sections.items():
        lines += ["", f"## {heading}", "", *body]
    return "\n".join(lines) + "\n"


def trained_parts(parts: Mapping[str, nn.Module], positions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table of how long each part of a model was trained. positions: of their checkpoints."""
    rows = []
    for name, part in parts.items():
        at = positions[name]
        rows.append((name, millions(part), at["steps"], f"{at['audio_hours']:.1f}", at["hardware"]))
    return table(TRAINED, rows)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def millions(model: nn.Module) -> str:
    """Millions of parameters, with one decimal."""
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}"
