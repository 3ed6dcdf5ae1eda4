"""What stages find out about utterances, stored beside the decoded audio: phones with durations, and f0."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from lhotse import MonoCut

from recipes.common.cache import AudioCache
from speech.errors import SpeechError
from speech.tts.text.inventory import CONSONANTS, VOWELS

FRAME = 160
"""Samples of a frame of 10 ms, which phones, f0 and mel share: frame k is centred on sample 160 k + 80."""

SILENCE = "SIL"

PHONES = (SILENCE, *CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in "012"))
"""Silence and the phonemes of `speech.tts.text.inventory`; a phone's id is its place here."""


def unstressed(phone: str) -> str:
    return phone.rstrip("012")


class Phones(NamedTuple):
    """The phones of one utterance, silences included, which together fill it.

    phones: [p] ids; frames: [p] durations; words: [p] the index of the word each belongs to, -1 for silence.
    """

    phones: np.ndarray
    frames: np.ndarray
    words: np.ndarray


def frame_count(cut: MonoCut) -> int:
    """Whole frames of an utterance's decoded audio."""
    return cut.custom["samples"] // FRAME  # type: ignore[index]


def phones_path(audio: AudioCache) -> Path:
    return audio.pcm.with_suffix(".phones.npz")


def f0_path(audio: AudioCache) -> Path:
    return audio.pcm.with_suffix(".f0.npy")


def fresh(path: Path, audio: AudioCache) -> bool:
    """Whether a track was made from the audio that is there now."""
    return path.is_file() and path.stat().st_mtime >= audio.index.stat().st_mtime


def save_phones(audio: AudioCache, rows: list[Phones | None]) -> None:
    """Phones of all cuts, in order; None where they are not known."""
    known = [row for row in rows if row is not None]
    columns = [np.concatenate(column) if known else np.zeros(0) for column in zip(*known, strict=True)] or [[], [], []]
    counts = [0 if row is None else len(row.phones) for row in rows]
    partial = phones_path(audio).with_suffix(".partial.npz")
    kinds = (np.uint8, np.uint16, np.int16)
    arrays = {name: np.asarray(x, kind) for name, x, kind in zip(Phones._fields, columns, kinds, strict=True)}
    np.savez_compressed(partial, counts=np.array(counts, np.int32), **arrays)
    partial.rename(phones_path(audio))


def load_phones(audio: AudioCache) -> dict[str, Phones]:
    """By the id of an utterance its phones, where they are known. Raises SpeechError before stage `align`."""
    path = phones_path(audio)
    if not fresh(path, audio):
        raise SpeechError(f"expected phones at {path} newer than the audio, found none: run stage=align first")
    with np.load(path) as stored:
        columns, counts = [stored[name] for name in Phones._fields], stored["counts"]
    ends = np.cumsum(counts)
    return {
        cut.id: Phones(*(column[end - count : end] for column in columns))
        for cut, count, end in zip(audio.cuts(), counts, ends, strict=True)
        if count
    }


def save_f0(audio: AudioCache, rows: list[np.ndarray]) -> None:
    """f0 in Hz of every frame of all cuts, in order; 0 where there is no voice."""
    partial = f0_path(audio).with_suffix(".partial.npy")
    np.save(partial, np.concatenate([*rows, np.zeros(0)]).astype(np.float16))
    partial.rename(f0_path(audio))


def load_f0(audio: AudioCache) -> dict[str, np.ndarray]:
    """By the id of an utterance, [t] float16: Hz, 0 where there is no voice. Raises SpeechError before stage `f0`."""
    path = f0_path(audio)
    if not fresh(path, audio):
        raise SpeechError(f"expected f0 at {path} newer than the audio, found none: run stage=f0 first")
    values = np.load(path, mmap_mode="r")
    cuts = audio.cuts()
    ends = np.cumsum([frame_count(cut) for cut in cuts])
    return {cut.id: values[end - frame_count(cut) : end] for cut, end in zip(cuts, ends, strict=True)}
