# ruff: noqa: RUF001
"""Written English to spoken words.

Covered: cardinal, ordinal, decimal and negative numbers and their sizes ("3.5M"), fractions, ranges, ratios, scores and
products, comparisons, years and decades, dates, days of the week, times and durations, money, percentages, units and
rates, feet and inches, telephone numbers, versions, scientific notation, Roman numerals after a noun or a name, titles,
street and other abbreviations, states with their ZIP code, initialisms, mixed letters and digits, addresses of pages,
mail and files, and symbols. Numbers are read in the American way. What has no reading is left out; nothing raises.

A `Normaliser` is any function from text to readings, so that others can take this one's place: see `grammar`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from speech.tts.text import dates, names, quantities, signs
from speech.tts.text.numbers import cardinal
from speech.tts.text.rule import Rule
from speech.tts.text.tables import STARTERS, SYMBOLS


@dataclass(frozen=True)
class Reading:
    """A stretch of written text and how it is said; both keep the white space that follows."""

    written: str
    spoken: str


Normaliser = Callable[[str], Sequence[Reading]]

_RULES: tuple[Rule, ...] = (*names.ADDRESSES, *dates.RULES, *signs.RULES, *quantities.RULES, *names.RULES)
_LETTER = "[^\\W\\d_²³¹¼-¾⁰-₉⅐-ↈ①-⓿㈠-㊿]"
_TOKEN = re.compile(rf"(?P<word>{_LETTER}+(?:'{_LETTER}+)*)|(?P<digits>\d+)|\s+|.", re.DOTALL)
_JOINED = ("-", "'", '"')
_KEPT = frozenset(".,!?;:'\"-–—。、")
_ENDING = re.compile(r"[\"')\]]*(?:\s*\Z|\s+(?:" + "|".join(STARTERS) + r")(?![\w.]))")
"""After an abbreviation: the text ends, or a new sentence is likely to begin."""


def read(text: str) -> list[Reading]:
    """The readings of cleaned text, from left to right; their written forms together are the text."""
    readings: list[Reading] = []
    for written, spoken in _scan(text):
        if written.isspace() and readings:
            last = readings[-1]
            readings[-1] = Reading(last.written + written, last.spoken + " ")
        else:
            readings.append(Reading(written, spoken))
    return readings


def normalise(text: str) -> str:
    """Cleaned text as it is said: "Dr. Smith paid $3.50." -> "doctor Smith paid three dollars and fifty cents."."""
    return join(read(text))


def join(readings: Sequence[Reading]) -> str:
    """The spoken text of readings, single spaces, none in front of punctuation."""
    spoken = " ".join("".join(reading.spoken for reading in readings).split())
    return re.sub(r" +(?=[.,!?;:](?:\s|\Z))", "", spoken)


def _scan(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of written and spoken: at each token the first rule that reads it, else the token itself."""
    position = 0
    while position < len(text):
        for rule in _RULES:
            match = rule.pattern.match(text, position)
            if match and (spoken := rule.say(match)) is not None:
                yield match[0], _spaced(match, spoken)
                break
        else:
            match = _TOKEN.match(text, position)
            assert match
            yield match[0], _plain(match)
        position = match.end()


def _spaced(match: re.Match[str], spoken: str) -> str:
    """A reading as a word of its own, but for hyphens and quotation marks beside it; a final period stays."""
    text, start, end = match.string, match.start(), match.end()
    before = "" if start and text[start - 1] in _JOINED else " "
    if match[0].endswith(".") and _ENDING.match(text, end):
        return f"{before}{spoken}."
    return f"{before}{spoken}{'' if text[end : end + 1] in _JOINED else ' '}"


def _plain(match: re.Match[str]) -> str:
    """A token that no rule reads: words and punctuation stay, symbols have names or vanish."""
    token = match[0]
    if match["digits"]:
        return f" {cardinal(token)} "
    marked = token in _KEPT or unicodedata.category(token[0]) in {"Mn", "Mc", "Co"}
    if match["word"] or marked:
        return token
    return f" {SYMBOLS.get(token, '')} "
