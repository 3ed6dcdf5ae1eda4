"""A folder of recordings and what is said in them, in any of three forms."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recipes.common.corpora import read_corpus
from recipes.common.text import normalise
from speech.audio.file import read
from speech.content.reference import SILENCE, VOICE_SECONDS
from speech.errors import SpeechError

FORMATS = (".wav", ".flac", ".ogg", ".opus", ".mp3")

LONGEST = 20.0
"""Seconds of a recording: about what the language model sees of its past."""


class Recording(NamedTuple):
    """A sound file, and what is said in it as it is written; "" if that is not known."""

    id: str
    audio: Path
    text: str


class Usable(NamedTuple):
    """A recording that can be trained on. seconds: its length; rate: its sample rate in Hz."""

    recording: Recording
    seconds: float
    rate: int


def recordings(folder: Path) -> list[Recording]:
    """All sound files in a folder and below it, and all that its list names.

    A list is a `manifest.jsonl`, else a `metadata.csv` (`id|text` or `id|written|normalised` on every line, as in LJ
    Speech, id being a file's name without its ending). Without one, what is said stands in a `.txt` beside each file.
    Raises SpeechError for a folder without recordings, and for a list that cannot be read or names several speakers.
    """
    if not folder.is_dir():
        raise SpeechError(f"expected a folder with recordings and what is said in them, {folder} is none: check data=")
    if (folder / "manifest.jsonl").is_file():
        return _manifest(folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS)
    if not files:
        raise SpeechError(f"expected recordings ({', '.join(FORMATS)}) in {folder}, found none: check data=")
    if (folder / "metadata.csv").is_file():
        texts = _metadata(folder / "metadata.csv")
        there = {path.stem for path in files}
        lost = [Recording(name, folder / name, text) for name, text in texts.items() if name not in there]
        return [*(Recording(path.stem, path, texts.get(path.stem, "")) for path in files), *lost]
    return [Recording(path.relative_to(folder).with_suffix("").as_posix(), path, _beside(path)) for path in files]


def usable(found: Iterable[Recording]) -> tuple[list[Usable], list[str]]:
    """The recordings that can be trained on, and for each other one a sentence that says why it cannot."""
    good: dict[str, Usable] = {}
    faults = []
    for row in found:
        try:
            if row.id in good:
                raise SpeechError(f"expected one recording of a name, {good[row.id].recording.audio} has it too")
            good[row.id] = _heard(row)
        except SpeechError as error:
            faults.append(f"left out {row.audio}: {error}")
    return list(good.values()), faults


def _heard(row: Recording) -> Usable:
    if not normalise(row.text):
        raise SpeechError("expected its text in English, found none")
    audio = read(row.audio)
    if not VOICE_SECONDS <= audio.seconds <= LONGEST:
        raise SpeechError(
            f"expected {VOICE_SECONDS:g} to {LONGEST:g} s of speech, got {audio.seconds:.1f} s: cut sentences"
        )
    if np.abs(audio.samples).max() < SILENCE:
        raise SpeechError("expected speech, it is silent")
    return Usable(row, audio.seconds, audio.sample_rate)


def _manifest(folder: Path) -> list[Recording]:
    cuts = list(read_corpus(folder, "manifest"))
    speakers = sorted({cut.supervisions[0].speaker or "" for cut in cuts})
    if len(speakers) > 1:
        raise SpeechError(
            f"expected one speaker in {folder / 'manifest.jsonl'}, got {', '.join(speakers[:5])}: "
            "make a folder for each"
        )
    return [
        Recording(cut.id, Path(cut.recording.sources[0].source), cut.supervisions[0].custom["written"])  # type: ignore[union-attr, index]
        for cut in cuts
    ]


def _metadata(path: Path) -> dict[str, str]:
    """By the name of a recording, its text: the last of the columns that is not empty."""
    texts = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        name, sign, rest = line.partition("|")
        if not line.strip():
            continue
        if not sign:
            raise SpeechError(f"expected `id|text` in line {number} of {path}, got {line[:40]!r}: correct it")
        columns = [column.strip() for column in rest.split("|")[:2]]
        own = name.strip().rpartition("/")[2]
        texts[Path(own).stem if Path(own).suffix.lower() in FORMATS else own] = next(filter(None, columns[::-1]), "")
    return texts


def _beside(audio: Path) -> str:
    path = audio.with_suffix(".txt")
    return _text(path).strip() if path.is_file() else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpeechError(f"expected text in UTF-8 in {path}, it cannot be read: {error}") from error
