"""Published Whispers to checkpoint folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from speech.asr.whisper.model import Whisper
from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer
from speech.hub.checkpoint import CARD, TEXT_TOKENIZER, build, save
from speech.hub.whisper.file import CONFIG, GENERATION, read
from speech.hub.whisper.weights import from_published

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Files of a Hugging Face folder of Whisper: of each the first that there is."""


def convert(path: Path, target: Path) -> Path:
    """Convert a `.pt` file or a Hugging Face folder of a Whisper into the checkpoint folder `target`; returns `target`.

    The vocabulary is that of the folder, or lies beside the file. Half precision is kept, except where low-rank updates
    were merged into it.

    Raises:
        SpeechError: weights or vocabulary are missing or damaged, do not fit one another, or ask to be executed.
    """
    published = read(path)
    config, tensors = from_published(published)
    tokenizer = WhisperTokenizer.load(path if path.is_dir() else path.parent, Symbols(config.vocabulary))
    half = not published.causal and all(t.dtype == torch.float16 for t in published.tensors.values())
    model = build(Whisper, config, tensors, str(path))
    files: dict[str, Path | bytes] = {TEXT_TOKENIZER: tokenizer.to_json().encode()}
    return save(target, model, _card(path), files, torch.float16 if half else None)


def needed(present: Sequence[str]) -> list[str]:
    """The files to fetch of those `present` in a repository; none where it is not one of a Whisper."""
    weights = next((name for name in WEIGHTS if name in present), None)
    words = next((names for names in TOKENIZERS if {*names} <= {*present}), None)
    if CONFIG not in present or weights is None or words is None:
        return []
    return [CONFIG, *words, *(name for name in (GENERATION,) if name in present), weights]


def _card(path: Path) -> str:
    """The folder's own model card, or a few lines that name the file."""
    own = path / CARD
    if path.is_dir() and own.is_file():
        return own.read_text(encoding="utf-8", errors="replace")
    return f"# {path.stem}\n\nA Whisper, converted from `{path.name}`.\n"
