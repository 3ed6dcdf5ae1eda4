"""What was said, as the synthesiser will read it: phonemes, borders and pauses, and how many codes each took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from lhotse import MonoCut

from recipes.tts_small.tracks import PHONES, Phones
from speech.content.encoder import FACTOR
from speech.tts.layout import Utterance
from speech.tts.text.inventory import BORDER, ids
from speech.tts.text.phonemes import phonemes

PAUSE = 3
"""Codes of silence between words (40 ms each) that make a pause of it."""

TAIL = 10
"""Codes of silence that the end of an utterance keeps, at the most."""


class Timed(NamedTuple):
    """Symbols one after another. first: codes before them; counts: codes of each."""

    symbols: list[int]
    first: int
    counts: list[int]

    def by_code(self, length: int) -> np.ndarray:
        """The symbol of each of `length` codes, int64; -1 before the first word and after the last pause."""
        row = np.full(length, -1)
        row[self.first : self.first + sum(self.counts)] = np.repeat(self.symbols, self.counts)
        return row


def spoken(phones: Phones, codes: np.ndarray, marks: Sequence[str], voice: int) -> Utterance:
    """An utterance of `Aligned` from when its phones were spoken. codes: [t]; marks: the pause behind every word."""
    symbols, first, counts = timed(phones, len(codes), marks)
    return Utterance(symbols, codes[first : first + sum(counts)].tolist(), counts, voice)


def timed(phones: Phones, length: int, marks: Sequence[str]) -> Timed:
    """The symbols of an utterance of `length` codes from when its phones were spoken.

    A border is a pause where the reader paused: the one that is written there, else a comma; and the end is one too, a
    full stop if nothing is written. Silence before the first word is left out.
    """
    edges = np.concatenate([[0], phones.frames.cumsum()])
    edges = np.minimum((edges + FACTOR // 2) // FACTOR, length)
    symbols: list[str] = []
    counts: list[int] = []
    first, silence, word = 0, 0, -1
    for phone, owner, begin, end in zip(phones.phones, phones.words, edges, edges[1:], strict=False):
        if owner < 0:
            silence = int(end - begin)
            continue
        if not symbols:
            first = int(begin)
        elif owner != word:
            symbols.append((marks[word] or ",") if silence >= PAUSE else BORDER)
            counts.append(silence)
        symbols.append(PHONES[phone])
        counts.append(int(end - begin))
        silence, word = 0, owner
    symbols.append(marks[word] or ".")
    counts.append(min(silence, TAIL))
    return Timed(ids(symbols), first, counts)


class _Silent:
    """A phonemiser for those who want to know of punctuation alone."""

    def pronounce(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        return [(BORDER,)] * len(words)


def punctuation(written: str, words: Sequence[str]) -> list[str]:
    """The pause symbol behind each of the normalised words, "" for none; none at all where numbers hide the words."""
    found = phonemes(written, _Silent())
    if len(found) != len(words):
        return [""] * len(words)
    return [word.pause for word in found]


def marks(cut: MonoCut, texts: Mapping[str, str]) -> list[str]:
    """The pause symbol behind each word of an utterance. texts: by id what was written."""
    return punctuation(texts.get(cut.id, ""), (cut.supervisions[0].text or "").split())
