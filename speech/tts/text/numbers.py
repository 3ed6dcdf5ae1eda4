# ruff: noqa: RUF001
"""Numbers in English words, American style: "one hundred five", no "and". num2words knows the words."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

_LONGEST = 15
"""Digits; a longer number is nobody's quantity and is read digit by digit."""
_DIGITS = "zero one two three four five six seven eight nine".split()
_DENOMINATORS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_POWERS = {"2": "squared", "3": "cubed"}

VULGAR = "[¼-¾⅐-⅞↉]"
"""A regular expression for fractions of one character."""

RAISED = "(?:[⁺⁻]?[⁰¹²³⁴-⁹]+|ⁿ)"
"""A regular expression for exponents of raised characters."""

NUMBER = (
    rf"(?:(?:(?:\d{{1,3}}(?:,\d{{3}})+|\d+) ?)?{VULGAR}"
    r"|(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})* 000(?! ?\d)|\d+(?:\.\d+)?|(?<![\w.])\.\d+)"
    rf"{RAISED}?)"
)
"""A regular expression for whole numbers, decimals and fractions of one character, with thousands separators."""

SIGN = r"(?:(?<![\w.)%°])[-−+])?"
"""A regular expression for the sign in front of a number, if there is one."""

_PARTS = re.compile(rf"(?P<sign>[-−+]?)(?P<whole>.*?) ?(?P<vulgar>{VULGAR}?)(?P<raised>{RAISED}?)")


def _words(number: int, kind: str) -> str:
    return num2words(number, to=kind).replace(",", "").replace(" and ", " ")


def digits(text: str) -> str:
    """The digits in `text` one by one, everything else dropped: "4-05" -> "four zero five"."""
    return " ".join(_DIGITS[int(c)] for c in text if c.isdecimal())


def cardinal(text: str) -> str:
    """A whole number, with thousands separators or without; a leading zero means that it is read digit by digit."""
    text = text.replace(",", "").replace(" ", "")
    if len(text) > _LONGEST or (len(text) > 1 and text[0] == "0"):
        return digits(text)
    return _words(int(text), "cardinal")


def number(text: str) -> str:
    """A number with sign, decimals or a fraction, and exponent: "-1,234.50" -> "minus one thousand two hundred
    thirty-four point five zero", "2½" -> "two and a half", "10³" -> "ten cubed".
    """
    parts = _PARTS.fullmatch(text)
    assert parts
    whole, _, decimals = parts["whole"].partition(".")
    if parts["vulgar"]:
        above, _, below = unicodedata.normalize("NFKC", parts["vulgar"]).partition("\u2044")
        spoken = mixed(whole, above, below)
    else:
        spoken = f"{cardinal(whole) if whole else ''}{' point ' if decimals else ''}{digits(decimals)}"
    said = [{"": "", "+": "plus"}.get(parts["sign"], "minus")]
    return " ".join([*said, spoken.strip(), *([power(parts["raised"])] if parts["raised"] else [])]).lstrip()


def power(raised: str) -> str:
    """An exponent, of raised characters or plain ones: "²" -> "squared", "⁻³" -> "to the power of minus three"."""
    plain = unicodedata.normalize("NFKC", raised)
    return _POWERS.get(plain) or f"to the power of {plain.upper() if plain.isalpha() else number(plain)}"


def ordinal(text: str) -> str:
    """A rank: "22" -> "twenty-second"."""
    text = text.replace(",", "")
    return _words(int(text), "ordinal") if len(text) <= _LONGEST else digits(text)


def year(text: str) -> str:
    """A year as it is said: "1984" -> "nineteen eighty-four", "2005" -> "two thousand five"."""
    return _words(int(text), "year")


def decade(text: str) -> str:
    """The years from `text` on: "1990" -> "nineteen nineties", "80" -> "eighties"."""
    return plural(year(text) if len(text) == 4 else cardinal(text))


def plural(word: str) -> str:
    """The plural of a number word: "sixty" -> "sixties", "six" -> "sixes", "seven" -> "sevens"."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("x", "s")) else "s")


def fraction(above: str, below: str) -> str:
    """A fraction: ("3", "4") -> "three quarters", ("1", "2") -> "one half"; odd ones "three over two hundred"."""
    part = int(below)
    if not 2 <= part <= 100 or int(above) >= part * 10 or int(above) > part > 20:
        return f"{cardinal(above)} over {cardinal(below)}"
    one, many = _DENOMINATORS.get(part) or (ordinal(below), plural(ordinal(below)))
    return f"{cardinal(above)} {one if int(above) == 1 else many}"


def mixed(whole: str, above: str, below: str) -> str:
    """A whole number, "" for none, and a fraction: ("2", "1", "4") -> "two and a quarter"."""
    part = fraction(above, below)
    return f"{cardinal(whole)} and {re.sub('^one ', 'a ', part)}" if whole else part


def count(text: str, one: str, many: str) -> str:
    """A number of things: ("1", "dollar", "dollars") -> "one dollar"; so with a mere fraction."""
    single = re.fullmatch(rf"[-−+]?(?:1(?:\.0+)?|{VULGAR})", text)
    return f"{number(text)} {one if single else many}"
