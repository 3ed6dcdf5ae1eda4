# ruff: noqa: RUF001
"""Spoken English to phonemes, word by word: so that a voice's durations give the times of words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from speech.errors import SpeechError
from speech.tts.text.espeak import Espeak
from speech.tts.text.lexicon import Lexicon

_TOKEN = re.compile(r"(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)|(?P<marks>[^\w\s]+)|\s+|.", re.DOTALL)
_PAUSES = (("?", "?"), ("!", "!"), (".", "."), (";", ";"), (":", ":"), (",", ","), ("—", "-"), ("–", "-"), ("--", "-"))
"""Punctuation and the pause it makes; the first that is found counts."""


@dataclass(frozen=True)
class Word:
    """A word, its phonemes (symbols of `inventory`), and the pause symbol of the punctuation behind it, if any."""

    text: str
    phonemes: tuple[str, ...]
    pause: str = ""


class Phonemiser(Protocol):
    """Says how words are pronounced. The same words always give the same phonemes; threads may share one."""

    def pronounce(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        """The phonemes of each word of a sentence; empty for a word that has none."""
        ...


_PHONEMISERS: dict[str, Callable[[], Phonemiser]] = {"lexicon": Lexicon, "espeak": Espeak}


def phonemiser(name: str = "lexicon") -> Phonemiser:
    """A phonemiser by name. "lexicon": the bundled dictionary. "espeak": eSpeak NG, which the user installs.

    Raises SpeechError for another name, or where eSpeak NG is not installed.
    """
    if name not in _PHONEMISERS:
        raise SpeechError(f'expected a phonemiser among {", ".join(_PHONEMISERS)}, got "{name}": choose one of them')
    return _PHONEMISERS[name]()


def phonemes(text: str, by: Phonemiser) -> list[Word]:
    """The words of normalised text with their phonemes. Hyphens part words; what has no sound is left out."""
    words: list[str] = []
    pauses: list[str] = []
    for match in _TOKEN.finditer(text):
        if match["word"]:
            words.append(match["word"])
            pauses.append("")
        elif words and match["marks"]:
            alone = text[match.start() - 1].isspace() and match["marks"] == "-"
            pause = "-" if alone else next((pause for mark, pause in _PAUSES if mark in match["marks"]), "")
            pauses[-1] = pauses[-1] or pause
    said = by.pronounce(words)
    return [Word(*parts) for parts in zip(words, said, pauses, strict=True) if parts[1]]
