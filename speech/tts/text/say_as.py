# ruff: noqa: RUF001
"""Readings that markup asks for: `<say-as interpret-as="...">`."""

from __future__ import annotations

import re
from collections.abc import Callable

from speech.tts.text import numbers
from speech.tts.text.clean import clean
from speech.tts.text.dates import DATE_PATTERNS, TIME_PATTERNS, date, reader, time
from speech.tts.text.names import letters
from speech.tts.text.normalise import normalise
from speech.tts.text.tables import MONTHS, SYMBOLS

_DATE, _TIME = reader(DATE_PATTERNS, date), reader(TIME_PATTERNS, time)


def _number(say: Callable[[str], str]) -> Callable[[str, str], str | None]:
    """Read the only number in the text, None when there is not one."""

    def read(text: str, form: str) -> str | None:
        found = re.fullmatch(r"\s*([-−]?)([\d,]*\d)(?:st|nd|rd|th)?\s*", text)
        return found and ("minus " if found[1] else "") + say(found[2])

    return read


def _characters(text: str, form: str) -> str:
    """Every letter, digit and sign by its name."""
    names = (numbers.digits(c) if c.isdecimal() else letters(c) or SYMBOLS.get(c, "") for c in text)
    return " ".join(filter(None, names))


def _telephone(text: str, form: str) -> str | None:
    groups = [numbers.digits(group) for group in re.findall(r"\d+", text)]
    return ("plus " if text.strip().startswith("+") else "") + ", ".join(groups) if groups else None


def _date(text: str, form: str) -> str | None:
    """A date; format tells the order of numbers: any of the letters y, m, d, as in "dmy"."""
    parts = re.findall(r"\d+", text)
    if not re.fullmatch("[ymd]{1,3}", form) or len(parts) != len(form):
        return _DATE(text)
    given = dict(zip(form, parts, strict=True))
    month = int(given.get("m", "1"))
    if not 1 <= month <= 12:
        return None
    said = [MONTHS[month - 1]] if "m" in given else []
    said += [numbers.ordinal(given["d"])] if "d" in given else []
    year = [numbers.year(given["y"])] if "y" in given else []
    return ", ".join(filter(None, [" ".join(said), *year]))


def _as_written(text: str, form: str) -> str:
    return normalise(text)


_READERS: dict[str, Callable[[str, str], str | None]] = {
    "cardinal": _number(numbers.cardinal),
    "number": _number(numbers.cardinal),
    "ordinal": _number(numbers.ordinal),
    "digits": _characters,
    "characters": _characters,
    "spell-out": _characters,
    "verbatim": _characters,
    "date": _date,
    "time": lambda text, form: _TIME(text),
    "telephone": _telephone,
    "fraction": _as_written,
    "unit": _as_written,
    "currency": _as_written,
}

KINDS = tuple(_READERS)
"""What `interpret-as` may be."""


def say_as(text: str, kind: str, form: str = "") -> str:
    """The spoken words of `text` read as `kind`; as it would be read anyway where it is no such thing."""
    text = clean(text)
    return _READERS[kind](text, form) or normalise(text)
