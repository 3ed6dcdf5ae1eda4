"""Dates, times of day and durations in English words."""

from __future__ import annotations

import re
from collections.abc import Callable

from speech.tts.text.numbers import cardinal, ordinal, year
from speech.tts.text.tables import MONTHS

_MONTH = "|".join([*MONTHS, r"Sept\.?", *(rf"{name[:3]}\.?" for name in MONTHS)])
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[1-9]\d{3})"
_END = r"(?![\w/]|[-.,]\d)"

DATE_PATTERNS = (
    rf"{_YEAR}-(?P<number>0[1-9]|1[0-2])-{_DAY}{_END}",
    rf"{_YEAR}/(?P<number>0[1-9]|1[0-2])/{_DAY}{_END}",
    rf"(?P<number>0?[1-9]|1[0-2])(?P<mark>[/.-]){_DAY}(?P=mark){_YEAR}{_END}",
    rf"{_DAY}(?P<mark>[/.-])(?P<number>0?[1-9]|1[0-2])(?P=mark){_YEAR}{_END}",
    rf"{_DAY}(?: of)?[ -](?P<month>{_MONTH})(?:,?[ -]{_YEAR})?{_END}",
    rf"(?P<month>{_MONTH}) {_DAY}(?:,? {_YEAR})?{_END}",
    rf"(?P<month>{_MONTH}),? {_YEAR}{_END}",
)
"""In order: ISO 8601 with hyphens or slashes, US numeric, day-first numeric where the month forbids the US reading,
"21 November 2026", "November 21, 2026", "November 2026"."""

TIME_PATTERNS = (
    r"(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?"
    r"(?: ?(?P<half>[aApP])(?:\.[mM]\.|[mM]\b))?(?![\d:])",
    r"(?P<hour>1[0-2]|0?[1-9]) ?(?P<half>[aApP])(?:\.[mM]\.|[mM]\b)(?!\w)",
)
"""Clock times: "10:30", "10:30:15", "10:30am"; "9 p.m."."""


def date(match: re.Match[str]) -> str:
    """A match of one of `DATE_PATTERNS`: "2026-11-21" -> "November twenty-first, twenty twenty-six"."""
    groups = match.groupdict()
    month = MONTHS[int(groups["number"]) - 1] if groups.get("number") else _month(groups["month"])
    day = groups.get("day")
    spoken = f"{month} {ordinal(day)}" if day else month
    if day and " of " in match[0]:
        spoken = f"{ordinal(day)} of {month}"
    if not groups.get("year"):
        return spoken
    return f"{spoken}{',' if day else ''} {year(groups['year'])}"


def _month(name: str) -> str:
    return next(month for month in MONTHS if month.startswith(name[:3]))


def time(match: re.Match[str]) -> str:
    """A match of one of `TIME_PATTERNS`: "10:05am" -> "ten oh five A M", "14:00" -> "fourteen hundred"."""
    groups = match.groupdict()
    hour, minute, half = groups["hour"], groups.get("minute"), groups.get("half")
    parts = [cardinal(str(int(hour)))]
    if minute == "00":
        if not half and not groups.get("second"):
            parts.append("o'clock" if 1 <= int(hour) <= 12 else "hundred")
    elif minute:
        parts.append(("oh " if minute[0] == "0" else "") + cardinal(str(int(minute))))
    if groups.get("second"):
        parts.append(f"and {cardinal(str(int(groups['second'])))} seconds")
    if half:
        parts.append(f"{half.upper()} M")
    return " ".join(parts)


def reader(patterns: tuple[str, ...], say: Callable[[re.Match[str]], str]) -> Callable[[str], str | None]:
    """A function that reads a whole string by the first pattern that fits it, None when none does."""
    compiled = [re.compile(pattern) for pattern in patterns]

    def read(text: str) -> str | None:
        matches = (pattern.fullmatch(text.strip()) for pattern in compiled)
        return next((say(match) for match in matches if match), None)

    return read
