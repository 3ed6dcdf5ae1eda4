"""Written text to what the recogniser learns to write: lower-case words with inner apostrophes."""

from __future__ import annotations

import re
import unicodedata

_SPOKEN = {"mr": "mister", "mrs": "missus", "dr": "doctor", "etc": "et cetera"}
_ABBREVIATION = re.compile(r"\b(" + "|".join(_SPOKEN) + r")\b", re.IGNORECASE)
_SAINT = re.compile(r"\bSt\.(?=\s[A-Z])")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)|\d+")
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def normalise(text: str) -> str:
    """Lower case, accents dropped, numbers and common abbreviations spelled out, everything but letters removed.

    An apostrophe stays inside a word ("don't"), where it cannot be a quotation mark.
    """
    text = unicodedata.normalize("NFKD", text.replace("\u2019", "'").replace("&", " and "))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = _ABBREVIATION.sub(lambda m: _SPOKEN[m[1].lower()], text)
    text = _SAINT.sub("saint", text)
    text = _NUMBER.sub(lambda m: f" {spell(int(m[0].replace(',', '')))} ", text).lower()
    text = re.sub(r"(?<![a-z])'|'(?![a-z])", " ", text)
    return " ".join(re.sub(r"[^a-z']", " ", text).split())


def spell(number: int) -> str:
    """A cardinal number in words, below 10**12 (longer ones digit by digit): 1042 -> "one thousand forty two"."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        return _join(_TENS[number // 10 - 2], number % 10)
    for name, size in (("hundred", 100), ("thousand", 10**3), ("million", 10**6), ("billion", 10**9)):
        if number < size * (10 if size == 100 else 1000):
            return _join(f"{spell(number // size)} {name}", number % size)
    return " ".join(_SMALL[int(digit)] for digit in str(number))


def _join(head: str, rest: int) -> str:
    return f"{head} {spell(rest)}" if rest else head
