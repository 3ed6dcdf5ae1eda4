# ruff: noqa: RUF001
"""Rules for dates, days of the week, months and times of day."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from speech.tts.text.numbers import cardinal, digits, ordinal, year
from speech.tts.text.rule import before, rule
from speech.tts.text.tables import MONTHS, WEEKDAYS

_MONTH = "|".join([*MONTHS, r"Sept\.?", *(rf"{name[:3]}\.?" for name in MONTHS)])
_NUMBER = r"(?P<number>0?[1-9]|1[0-2])"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_LAST = r"[-–](?P<last>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[1-9]\d{3})"
_END = r"(?![\w/]|[-.,]\d)"

DATE_PATTERNS = (
    rf"{_YEAR}-(?P<number>0[1-9]|1[0-2])-{_DAY}(?:{_END}|(?=T\d\d:))",
    rf"{_YEAR}/(?P<number>0[1-9]|1[0-2])/{_DAY}{_END}",
    rf"{_NUMBER}(?P<mark>[/.-]){_DAY}(?P=mark){_YEAR}{_END}",
    rf"{_DAY}(?P<mark>[/.-]){_NUMBER}(?P=mark){_YEAR}{_END}",
    rf"{_NUMBER}/{_DAY}/(?P<year>\d\d){_END}",
    rf"{_DAY}/{_NUMBER}/(?P<year>\d\d){_END}",
    rf"{_DAY}(?:{_LAST})?(?: of)?[ -](?P<month>{_MONTH})(?:,?[ -]{_YEAR})?{_END}",
    rf"(?P<month>{_MONTH}) {_DAY}(?:{_LAST})?(?:,? {_YEAR})?{_END}",
    rf"(?P<month>{_MONTH}),? {_YEAR}{_END}",
)
"""In order: ISO 8601 with hyphens or slashes, US numeric, day-first numeric where the month forbids the US reading,
both with a year of two digits, "21 November 2026", "November 21, 2026" (or "November 21-23"), "November 2026"."""

TIME_PATTERNS = (
    r"(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?:\.(?P<decimals>\d+))?"
    r"(?: ?(?P<half>[aApP])(?:\.[mM]\.|[mM]\b))?(?![\d:])",
    r"(?P<hour>1[0-2]|0?[1-9])(?:\.(?P<minute>[0-5]\d))? ?(?P<half>[aApP])(?:\.[mM]\.|[mM]\b)(?!\w)",
)
"""Clock times: "10:30", "10:30:15", "10:30am"; "9 p.m.", "9.30 p.m."."""

_WEEKDAY = r"(?:Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\b"
_NAMED = rf"(?:{'|'.join(WEEKDAYS)}|{'|'.join(MONTHS)}|{_WEEKDAY}|Sept|{'|'.join(name[:3] for name in MONTHS)})\b"
_AND = r"\.?(?: ?[-–/&] ?|, (?:and |or )?| (?:and|or|to|through) )"
_MONTHS_ONLY = frozenset({"Feb", "Apr", "Aug", "Sept", "Oct", "Nov", "Dec"})
"""Abbreviations that are no name or word besides."""
_BEFORE = re.compile(rf"{_NAMED}{_AND}\Z")
_MONTH_AFTER = re.compile(rf" ?[-–/] ?{_NAMED}")
_PREPOSITION = re.compile(r"\b(?:on|every|next|last|this) \Z", re.IGNORECASE)
_AFTER = re.compile(rf"{_AND}{_WEEKDAY}|,? (?:(?:{_MONTH})(?!\w)|\d)")


def date(match: re.Match[str]) -> str | None:
    """A match of one of `DATE_PATTERNS`: "2026-11-21" -> "November twenty-first, twenty twenty-six"."""
    groups = match.groupdict()
    month = MONTHS[int(groups["number"]) - 1] if groups.get("number") else _full(groups["month"], MONTHS)
    day, last, when = groups.get("day"), groups.get("last"), groups.get("year")
    if last and int(last) <= int(day or 0):
        return None
    days = " to ".join(ordinal(number) for number in (day, last) if number)
    spoken = f"{days} of {month}" if day and " of " in match[0] else f"{month} {days}".rstrip()
    if not when:
        return spoken
    century = "" if len(when) == 4 else "20" if when < "50" else "19"
    return f"{spoken}{',' if day else ''} {year(century + when)}"


def _full(name: str, names: Sequence[str]) -> str:
    return next(full for full in names if full.startswith(name[:3]))


def time(match: re.Match[str]) -> str:
    """A match of one of `TIME_PATTERNS`: "10:05am" -> "ten oh five A M", "14:00" -> "fourteen hundred"."""
    groups = match.groupdict()
    hour, minute, half = groups["hour"], groups.get("minute"), groups.get("half")
    second = (groups.get("second") or "").replace("00", "")
    decimals = f"point {digits(groups['decimals'])}" if groups.get("decimals") else ""
    parts = [cardinal(str(int(hour)))]
    if minute == "00":
        if not half and not second:
            parts.append("o'clock" if 1 <= int(hour) <= 12 else "hundred")
    elif minute:
        parts.append(("oh " if minute[0] == "0" else "") + cardinal(str(int(minute))))
    if second:
        parts += ["and", cardinal(str(int(second))), *([decimals] if decimals else []), "seconds"]
    elif decimals:
        parts.append(decimals)
    if half:
        parts.append(f"{half.upper()} M")
    return " ".join(parts)


def _weekday(match: re.Match[str]) -> str | None:
    """ "Fri" always; "Mon", "Wed", "Sat" and "Sun" only beside another day, a date or a time, or after "on"."""
    name, front = match[0], before(match)
    told = _BEFORE.search(front) or _AFTER.match(match.string, match.end())
    if told or name[0] in "TF" or (name[:3] != "Sun" and _PREPOSITION.search(front)):
        return _full(name, WEEKDAYS)
    return None


def _month(match: re.Match[str]) -> str | None:
    """ "Nov" always; "Jan", "Mar", "Jun" and the like only beside another month or after "in"."""
    name, front = match[0], before(match)
    told = re.search(r"\b(?:in|since|until) \Z|\bmid-\Z", front, re.IGNORECASE) or _BEFORE.search(front)
    if told or name in _MONTHS_ONLY or _MONTH_AFTER.match(match.string, match.end()):
        return _full(name, MONTHS)
    return None


def _between(match: re.Match[str]) -> str | None:
    """The sign between two days or months: "Mon-Fri", "Mon/Wed"."""
    if not _BEFORE.search(before(match) + match[0]):
        return None
    return "" if "/" in match[0] else "to"


RULES = (
    *(rule(rf"(?<![\w/.-]){pattern}", date) for pattern in DATE_PATTERNS),
    rule(rf"(?:(?<=[Oo]n )|(?<=[a-z]day )|(?<=[a-z]day, ))(?!9/11){_NUMBER}/{_DAY}{_END}(?! (?:of|the|an?)\b)", date),
    rule(r"(?<=\d)T(?=\d\d:\d\d)", lambda _: ""),
    *(rule(rf"(?:(?<![\w:])|(?<=\dT)){pattern}", time) for pattern in TIME_PATTERNS),
    rule(r"(?:(?<=:\d\d)|(?<=\.\d{3}))Z(?!\w)", lambda _: "U T C"),
    rule(rf"(?<!\w){_WEEKDAY}(?:\.(?=[-–/&,])|(?<=Sun)(?=\.)|(?!\.))", _weekday),
    rule(rf" ?[-–/] ?(?={_NAMED})", _between),
    rule(rf"(?<=\d) ?[-–] ?(?=(?:{_MONTH}) \d)", lambda _: "to"),
    rule(rf"(?<!\w)(?:{_MONTH})(?![\w.])", _month),
)
"""Tried in this order: the more a form says, the earlier it stands."""


def reader(patterns: tuple[str, ...], say: Callable[[re.Match[str]], str | None]) -> Callable[[str], str | None]:
    """A function that reads a whole string by the first pattern that fits it, None when none does."""
    compiled = [re.compile(pattern) for pattern in patterns]

    def read(text: str) -> str | None:
        matches = (pattern.fullmatch(text.strip()) for pattern in compiled)
        return next((say(match) for match in matches if match), None)

    return read
