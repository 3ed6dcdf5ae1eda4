"""Written English to spoken words by the rules of `normalise` and a larger grammar, or by a function of the user's.

The grammar is WeTextProcessing's, run by the library wetext. It gives a text as it is said, without telling which words
are which: those that it leaves as they are show where the others belong. A stretch of which the rules leave nothing as
it is written stays with the rules, so does what the grammar leaves alone or with digits and symbols in it; the rest is
the grammar's, such as "No 5" and "Sat", since the rules expand no abbreviation that might be another word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from functools import partial
from itertools import accumulate

from speech.errors import SpeechError
from speech.tts.text.normalise import Normaliser, Reading, normalise, read
from speech.tts.text.split import INLINE

LONGEST = 400
"""Characters that a grammar is given at once, more than a piece has: its time grows with their square."""

_PART = re.compile(r"(?P<mark>[{0}-{1}]\s*)|[^{0}-{1}]+".format(chr(INLINE[0]), chr(INLINE[-1])))
_PLAIN = re.compile(r"""["'(]*[^\W\d_]+(?:['-][^\W\d_]+)*[.,;:!?"')]*""")
_SAID = re.compile(r"(?:o'clock|[^\W\d_]+)(?:(?:,? |-)(?:o'clock|[^\W\d_]+))*")
_ASKED = re.compile(r"""(?:[^\W_]|[\s.,:;!?'"()%\xd7])+""")
"""Letters, digits and the signs of sentences and numbers. Others a grammar names, as in "asterisk asterisk" for bold
type; of hyphens the rules know which are ranges."""
_EDGE = r"""[\s.,;:!?"'()-]*"""
_MARKS = " \n.,;!?\"'()"
_FRAMED = re.compile(f"({_EDGE})(.*?)({_EDGE})", re.DOTALL)


def normaliser(choice: str | Normaliser | None = None) -> Normaliser:
    """What turns cleaned text into readings: "rules" (the default), "grammar", or a function of the user's own.

    The function never sees markup. It returns `Reading`s whose written forms together are the text that it was given,
    or SpeechError is raised when it is used. Raises SpeechError for another name, and for the grammar where wetext is
    not installed.
    """
    if callable(choice):
        return partial(_between_marks, choice)
    if choice not in (None, "rules", "grammar"):
        raise SpeechError(f"expected rules, grammar or a function as normaliser, got {choice!r}: choose one of them")
    return partial(read_with, _wetext()) if choice == "grammar" else read


def read_with(say: Callable[[str], str], text: str) -> list[Reading]:
    """The readings of cleaned text by the rules and a grammar. say: from a text to the same as it is said.

    `partial(read_with, say)` is a normaliser by any library that goes from text to text.
    """
    ours = read(text)
    theirs = _between_marks(lambda part: aligned(part, say(part) if len(part) <= LONGEST else part), text)
    cuts = _ends(ours) & _ends(theirs)
    pairs = zip(_cut(ours, cuts), _cut(theirs, cuts), strict=True)
    return [reading for rules, grammar in pairs for reading in _chosen(rules, grammar)]


def aligned(text: str, spoken: str) -> list[Reading]:
    """The readings of a text of which all is known as it is said, as short as the words common to both allow.

    A word tells where the others belong only if it is written as often as it is said. The written forms together are
    the text, the spoken ones what is said, but for white space.
    """
    tokens, said = re.findall(r"\s*\S+\s*|\s+", text), spoken.split()
    words = [token.strip() for token in tokens]
    here, there = Counter(words), Counter(said)
    keys = [word if here[word] == there[word] and _PLAIN.fullmatch(word) else i for i, word in enumerate(words)]
    pairs: list[tuple[str, list[str]]] = []
    extra: list[str] = []
    i = j = 0
    for a, b, size in SequenceMatcher(None, keys, said, autojunk=False).get_matching_blocks():
        if i < a:
            pairs.append(("".join(tokens[i:a]), said[j:b]))
        elif pairs:
            pairs[-1][1].extend(said[j:b])
        else:
            extra = said[j:b]
        for k in range(a, a + size):
            pairs.append((tokens[k], [*extra, words[k]]))
            extra = []
        i, j = a + size, b + size
    return [Reading(written, "".join(f"{word} " for word in said)) for written, said in pairs]


def _wetext() -> Callable[[str], str]:
    """From a text to the same as the library says it, or as it is where the library fails."""
    try:
        from wetext import Normalizer  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SpeechError("expected the library wetext for the grammar, found none: pip install wetext") from None
    normalize = Normalizer(lang="en", operator="tn").normalize

    def say(text: str) -> str:
        try:
            return str(normalize(text)).replace('\\"', '"')
        except Exception:  # of many kinds, where it has no path through the text
            return text

    return say


def _between_marks(function: Normaliser, text: str) -> list[Reading]:
    """The readings of a text by a function that does not see the characters of `INLINE`, else as `normaliser` says."""
    readings: list[Reading] = []
    for part in _PART.finditer(text):
        if part["mark"] or part[0].isspace():
            readings.append(Reading(part[0], part[0]))
            continue
        found = list(function(part[0]))
        sound = all(isinstance(reading, Reading) and reading.written for reading in found)
        if not sound or "".join(reading.written for reading in found) != part[0]:
            raise SpeechError(f"expected Readings that together are {part[0]!r}, got {found}: correct the normaliser")
        readings += found
    return readings


def _ends(readings: Sequence[Reading]) -> set[int]:
    return set(accumulate(len(reading.written) for reading in readings))


def _cut(readings: Sequence[Reading], cuts: set[int]) -> Iterator[list[Reading]]:
    """Groups of readings, one up to each cut."""
    group: list[Reading] = []
    end = 0
    for reading in readings:
        group.append(reading)
        end += len(reading.written)
        if end in cuts:
            yield group
            group = []


def _chosen(rules: list[Reading], grammar: list[Reading]) -> list[Reading]:
    """One of two readings of a stretch. What stands around the words, such as a final period, is as the rules say."""
    written = "".join(reading.written for reading in grammar)
    spoken = "".join(reading.spoken for reading in grammar)
    left = any(part.written.strip(_MARKS) and part.written.split() == part.spoken.split() for part in rules)
    if not left or spoken.split() == written.split() or not _ASKED.fullmatch(written):
        return rules
    _, said, _ = _framed(spoken)
    if not _SAID.fullmatch(said):
        return rules
    before, _, after = _framed("".join(reading.spoken for reading in rules))
    return [Reading(written, f"{before or ' '}{normalise(said)}{after or ' '}")]


def _framed(spoken: str) -> tuple[str, str, str]:
    """What is said and the punctuation and space around it."""
    match = _FRAMED.fullmatch(spoken)
    assert match
    return match[1], match[2], match[3]
