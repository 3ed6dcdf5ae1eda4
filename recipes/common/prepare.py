"""Corpora as decoded audio in the work folder, and which of their utterances are held out of training."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from lhotse import MonoCut

from recipes.common.cache import AudioCache
from recipes.common.corpora import read_corpus
from recipes.common.settings import BaseSettings

Source = tuple[str, Path, str]
"""Name, folder and layout of a corpus."""


def configured(settings: BaseSettings) -> list[Source]:
    """The corpora that `data.train` and `data.evaluation` name."""
    data = settings.raw.data
    return [(name, Path(data.root) / name, data.layout) for name in (*data.train, *data.evaluation)]


def decode(settings: BaseSettings, sources: Iterable[Source]) -> None:
    """Decode every corpus once; what is there already is kept."""
    for name, folder, layout in sources:
        manifest = folder / "manifest.jsonl"
        changed = manifest if layout == "manifest" and manifest.exists() else folder
        read = partial(read_corpus, folder, layout)
        cache(settings, name).build(read, changed, settings.raw.trainer.workers or 1)


def cache(settings: BaseSettings, name: str) -> AudioCache:
    """The decoded audio of one corpus. The corpus "." is all of `data.root`, and no file name."""
    return AudioCache(settings.work / "audio", "all" if name == "." else name)


def held_out(cut: MonoCut) -> bool:
    """Whether an utterance serves validation: one in a hundred does, chosen by its id."""
    return zlib.crc32(cut.id.encode()) % 100 == 0


def hours(cuts: Iterable[MonoCut]) -> float:
    return sum(cut.duration for cut in cuts) / 3600
