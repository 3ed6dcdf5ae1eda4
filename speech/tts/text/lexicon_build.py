"""Makes `lexicon.bin` of the CMU Pronouncing Dictionary: `python -m speech.tts.text.lexicon_build cmudict.dict OUT`.

The first pronunciation of every word is kept, and a letter-to-sound tree is learnt from them. Letters and phonemes are
aligned by Viterbi training: a letter says nought to two phonemes, the costs are re-estimated from the best alignments
(Black, Lenzo and Pagel 1998, "Issues in building general letter to sound rules").
"""

from __future__ import annotations

import argparse
import math
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from speech.tts.text.inventory import encode
from speech.tts.text.letters import Letters, described

Cost = Callable[[str, tuple[str, ...]], float]
Word = tuple[str, tuple[str, ...]]

_ROUNDS, _SAMPLE = 5, 5
_WORST = 2.2
"""Nats a letter; a word that aligns worse is an abbreviation or a mistake and teaches nothing."""


def read(path: Path) -> dict[str, tuple[str, ...]]:
    """Words of letters and apostrophes with their first pronunciation, from a file in the format of CMUdict."""
    words = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, phonemes = line.split("#")[0].partition(" ")
        if re.fullmatch("[a-z']*[a-z][a-z']*", word):
            words[word] = tuple(phonemes.split())
    return words


def align(word: str, phonemes: tuple[str, ...], cost: Cost) -> tuple[float, list[tuple[str, ...]]] | None:
    """The cheapest way to give every letter nought to two phonemes, and its cost a letter; None when there is none."""
    bare = tuple(phoneme.rstrip("012") for phoneme in phonemes)
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for letter in word:
        row: dict[int, tuple[float, int]] = {}
        for done, (spent, _) in best[-1].items():
            for count in range(min(2, len(bare) - done) + 1):
                total = spent + cost(letter, bare[done : done + count])
                if total < row.get(done + count, (math.inf, 0))[0]:
                    row[done + count] = (total, count)
        best.append(row)
    if len(bare) not in best[-1]:
        return None
    said, done = [], len(bare)
    for row in reversed(best[1:]):
        count = row[done][1]
        said.append(phonemes[done - count : done])
        done -= count
    return best[-1][len(bare)][0] / len(word), said[::-1]


def first_cost(words: Iterable[Word]) -> Cost:
    """A start for the training: how much more often a letter meets a phoneme near its own place than by chance."""
    met: dict[str, Counter[str]] = defaultdict(Counter)
    for word, phonemes in words:
        for i, letter in enumerate(word):
            place = round(i * (len(phonemes) - 1) / max(1, len(word) - 1))
            met[letter].update(phoneme.rstrip("012") for phoneme in phonemes[max(0, place - 1) : place + 2])
    overall = sum(met.values(), Counter())
    everything = overall.total()

    def cost(letter: str, said: tuple[str, ...]) -> float:
        if not said:
            return 3.0
        mine = met[letter].total() + 1
        ratios = ((met[letter][p] + 0.5) / mine * everything / max(1, overall[p]) for p in said)
        return sum(1.5 - math.log(ratio) for ratio in ratios) + (2.5 if len(said) == 2 else 0.0)

    return cost


def next_cost(alignments: Iterable[tuple[str, list[tuple[str, ...]]]]) -> Cost:
    """Negative log frequencies of what letters say in the given alignments."""
    said: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for word, parts in alignments:
        for letter, part in zip(word, parts, strict=True):
            said[letter][tuple(phoneme.rstrip("012") for phoneme in part)] += 1
    totals = {letter: counts.total() for letter, counts in said.items()}

    def cost(letter: str, part: tuple[str, ...]) -> float:
        seen = said[letter][part]
        return 12.0 if len(part) == 2 and seen < 2 else -math.log((seen + 0.05) / (totals.get(letter, 0) + 50))

    return cost


def grow(alignments: Iterable[tuple[str, list[tuple[str, ...]]]]) -> Letters:
    """The letter-to-sound tree of aligned words."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for word, parts in alignments:
        for features, answer in described(word, parts):
            for n in range(1, len(features) + 1):
                counts[features[:n]][answer] += 1
    answers: dict[str, str] = {}
    for features in sorted(counts, key=lambda key: (len(key), key)):
        answer = min(counts[features].items(), key=lambda item: (-item[1], item[0]))[0]
        shorter = next(
            (answers[features[:n]] for n in range(len(features) - 1, 0, -1) if features[:n] in answers), None
        )
        if answer != shorter:
            answers[features] = answer
    return Letters(answers)


def learn(words: Mapping[str, tuple[str, ...]]) -> Letters:
    """Align all words, then grow the tree."""
    items = sorted(words.items())
    sample = items[::_SAMPLE] if len(items) > 10_000 else items
    cost = first_cost(sample)
    for _ in range(_ROUNDS):
        found = [(word, align(word, phonemes, cost)) for word, phonemes in sample]
        cost = next_cost([(word, alignment[1]) for word, alignment in found if alignment])
    found = [(word, align(word, phonemes, cost)) for word, phonemes in items]
    return grow((word, alignment[1]) for word, alignment in found if alignment and alignment[0] < _WORST)


def pack(words: Mapping[str, tuple[str, ...]], letters: Letters) -> bytes:
    """The file's bytes: lines of the dictionary, an empty line, lines of the tree; compressed by zlib.

    LZMA would make it a fifth smaller, and the first word wait four times as long.
    """
    lines = [f"{word}\t{encode(phonemes)}" for word, phonemes in sorted(words.items())]
    return zlib.compress("\n".join(["", *lines, "", *letters.dump()]).encode("ascii"), 9)


def main() -> None:
    parser = argparse.ArgumentParser(description="make lexicon.bin of the CMU Pronouncing Dictionary")
    parser.add_argument("dictionary", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    words = read(arguments.dictionary)
    arguments.out.write_bytes(pack(words, learn(words)))


if __name__ == "__main__":
    main()
