"""Letters to sound for words that no dictionary knows: a decision tree over the letters around (IGTree).

Daelemans, van den Bosch and Weijters 1997, "IGTree: using trees for compression and classification in lazy learning
algorithms". Every letter says nought to two phonemes. The word is read from its end, since the end decides the stress
of an English word; a letter is described by `context`, the most telling features first, and the tree keeps a longer
description only where its answer differs from that of the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from speech.tts.text.inventory import VOWELS, decode, encode

_EDGE = "_"
_OFFSETS = (2, -2, 3, -3, 4, -4, 5, -5)


def context(word: str, at: int, spoken: Sequence[str]) -> str:
    """The features of a letter, one character each, from the most telling to the least.

    spoken: what the letters behind it say (coded phonemes), the nearest last. Features: the letter, its neighbours, the
    stresses of the next two vowels, the phoneme behind, then letters farther and farther away.
    """

    def letter(offset: int) -> str:
        return word[at + offset] if 0 <= at + offset < len(word) else _EDGE

    behind = [phoneme for said in reversed(spoken) for phoneme in decode(said)]
    stresses = [phoneme[-1] for phoneme in behind if phoneme[:-1] in VOWELS][:2]
    nearest = spoken[-1][:1] or _EDGE if spoken else " "
    near = letter(0) + letter(1) + letter(-1) + "".join(stresses).ljust(2, _EDGE) + nearest
    return near + "".join(letter(offset) for offset in _OFFSETS)


class Letters:
    """The tree: `answers` maps a beginning of a description to what the letter says, in coded phonemes."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = answers
        self._longest = max(map(len, answers), default=0)

    def pronounce(self, word: str) -> tuple[str, ...]:
        """The phonemes of a word of the letters a to z, lower case; exactly one vowel is stressed when there is any."""
        spoken: list[str] = []
        for at in range(len(word) - 1, -1, -1):
            features = context(word, at, spoken)
            lengths = range(min(len(features), self._longest), 0, -1)
            spoken.append(next((self.answers[features[:n]] for n in lengths if features[:n] in self.answers), ""))
        return stressed(decode("".join(reversed(spoken))))

    @staticmethod
    def load(lines: Iterable[str]) -> Letters:
        """Read the lines of `dump`."""
        return Letters(dict(line.split("\t") for line in lines))

    def dump(self) -> list[str]:
        """The tree as sorted lines: features, tab, coded phonemes."""
        return [f"{features}\t{answer}" for features, answer in sorted(self.answers.items())]


def stressed(phonemes: Sequence[str]) -> tuple[str, ...]:
    """One primary stress: the first is kept, others become secondary; without any the first full vowel takes it."""
    places = [i for i, phoneme in enumerate(phonemes) if phoneme[:-1] in VOWELS]
    if not places:
        return tuple(phonemes)
    primary = [i for i in places if phonemes[i][-1] == "1"]
    full = [i for i in places if phonemes[i][:-1] != "AH"]
    head = (primary or full or places)[0]
    result = [p[:-1] + "2" if i in primary else p for i, p in enumerate(phonemes)]
    result[head] = phonemes[head][:-1] + "1"
    return tuple(result)


def described(word: str, said: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Descriptions and answers of the letters of an aligned word, last letter first: what the tree learns from."""
    spoken: list[str] = []
    pairs = []
    for at in range(len(word) - 1, -1, -1):
        answer = encode(said[at])
        pairs.append((context(word, at, spoken), answer))
        spoken.append(answer)
    return pairs
