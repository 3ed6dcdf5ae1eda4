"""English words to phonemes by the CMU Pronouncing Dictionary, with a letter-to-sound tree for all other words.

`lexicon.bin` holds the first pronunciation of each of its 125 000 words (Carnegie Mellon University, 2-clause BSD
licence in `LICENSE.cmudict`) and the tree that `lexicon_build` learnt from them.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files

from speech.tts.text.homographs import HOMOGRAPHS
from speech.tts.text.inventory import VOWELS, decode
from speech.tts.text.letters import Letters, stressed

_HISSING = frozenset("S Z SH ZH CH JH".split())
_VOICELESS = frozenset("P T K F TH S SH CH".split())
_SUFFIXES = {
    "ing": ("IH0", "NG"),
    "ly": ("L", "IY0"),
    "ness": ("N", "AH0", "S"),
    "less": ("L", "AH0", "S"),
    "er": ("ER0",),
}
_SHORTEST_PART = 4
_SPELT = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i"}
)
"""Letters that are no letter of a to z with an accent."""
_KEPT = 1 << 16
"""Words whose pronunciations are remembered; all are forgotten when there would be more."""


class Lexicon:
    """The dictionary, its tree, and the choice among pronunciations by the words around."""

    def __init__(self, data: bytes | None = None) -> None:
        """data: what `lexicon_build.pack` made; the bundled dictionary when it is left out, read at the first word."""
        self._data = data
        self._known: dict[str, tuple[str, ...]] = {}

    @cached_property
    def _tables(self) -> tuple[bytes, bytes]:
        packed = self._data or (files("speech.tts.text") / "lexicon.bin").read_bytes()
        words, _, tree = zlib.decompress(packed).partition(b"\n\n")
        return words + b"\n", tree

    @cached_property
    def _letters(self) -> Letters:
        return Letters.load(self._tables[1].decode("ascii").splitlines())

    def pronounce(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        """The phonemes of each word of a sentence, in the light of its neighbours; none for a word without a-z."""
        said = [self._in_context(words, i) for i in range(len(words))]
        for i in range(len(words) - 1):
            if words[i].lower() == "the" and said[i + 1][:1] and said[i + 1][0][:-1] in VOWELS:
                said[i] = ("DH", "IY0")
        return said

    def word(self, text: str) -> tuple[str, ...]:
        """The phonemes of one word by itself: from the dictionary, from its parts, or from its letters."""
        said = self._known.get(text)
        if said is None:
            plain = unicodedata.normalize("NFKD", text.lower().translate(_SPELT))
            plain = re.sub("[^a-z']", "", plain).strip("'")
            said = self._look_up(plain) or self._derive(plain) or self._spell(plain)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[text] = said
        return said

    def _in_context(self, words: Sequence[str], i: int) -> tuple[str, ...]:
        text, before = words[i], words[i - 1].lower() if i else ""
        if text == "A" and (i or any(len(w) == 1 and w.isupper() for w in words[1:2])):  # a letter, not the article
            return ("EY1",)
        homograph = HOMOGRAPHS.get(text.lower())
        if homograph:
            return homograph.other if before in homograph.after else homograph.usual
        return self.word(text)

    def _look_up(self, word: str) -> tuple[str, ...]:
        words = self._tables[0]
        at = words.find(f"\n{word}\t".encode("ascii"))
        if at < 0:
            return ()
        start = at + len(word) + 2
        return decode(words[start : words.index(b"\n", start)].decode("ascii"))

    def _derive(self, word: str) -> tuple[str, ...]:
        """A regular form of a known word ("'s", -s, -ed, -ing, ...), or two known words in one."""
        for ending in ("'s", "s", "ed"):
            if word.endswith(ending) and (stem := self._stem(word[: -len(ending)], ending == "ed")):
                return stem + (_past(stem[-1]) if ending == "ed" else _plural(stem[-1]))
        for ending, phonemes in _SUFFIXES.items():
            if word.endswith(ending) and (stem := self._stem(word[: -len(ending)], ending in {"ing", "er"})):
                return stem + phonemes
        for cut in range(len(word) - _SHORTEST_PART, _SHORTEST_PART - 1, -1):
            if (head := self._look_up(word[:cut])) and (tail := self._look_up(word[cut:])):
                return stressed(head + tail)
        return ()

    def _stem(self, stem: str, changes: bool) -> tuple[str, ...]:
        """A known stem; where the ending changes spelling, also with its silent e or without a doubled letter."""
        if len(stem) < 3:
            return ()
        forms = [stem, stem + "e"] if changes else [stem]
        if changes and stem[-1] == stem[-2]:
            forms.append(stem[:-1])
        return next(filter(None, map(self._look_up, forms)), ())

    def _spell(self, word: str) -> tuple[str, ...]:
        letters = word.replace("'", "")
        phonemes = self._letters.pronounce(letters)
        if any(phoneme[:-1] in VOWELS for phoneme in phonemes):
            return phonemes
        return tuple(phoneme for letter in letters for phoneme in self._look_up(letter))


def _plural(last: str) -> tuple[str, ...]:
    return ("IH0", "Z") if last in _HISSING else ("S",) if last in _VOICELESS else ("Z",)


def _past(last: str) -> tuple[str, ...]:
    return ("IH0", "D") if last in {"T", "D"} else ("T",) if last in _VOICELESS else ("D",)
