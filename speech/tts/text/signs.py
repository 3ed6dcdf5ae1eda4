# ruff: noqa: RUF001
"""Rules for the signs between numbers: ranges, differences, ratios, products, comparisons, rates."""

from __future__ import annotations

import re

from speech.tts.text.numbers import NUMBER, RAISED, VULGAR, cardinal, number, plural, year
from speech.tts.text.rule import before, one_of, rule
from speech.tts.text.tables import CURRENCY_SIGN, PER, SCRIPTURES, SYMBOLS

_LATER = f"(?={CURRENCY_SIGN}?(?:\\d|{VULGAR}))"
"""What follows is a number, or an amount of money."""
_EQUATION = re.compile(r"[\d.,]+(?: ?[-−+*/x×] ?[\d.,]+)* ?=")
_NAME = re.compile(r"\b[A-Z][\w.]*-[\d.]+[a-z]*\Z")
_UNIT_BEFORE = re.compile(r"\d([A-Za-z]{1,2})\Z")
_UNIT_AFTER = re.compile(r"[^\w\s]?[\d.,]+([A-Za-z]{1,2})(?!\w)")
_ENDINGS = frozenset({"am", "pm", "st", "nd", "rd", "th"})
_BOOK = re.compile(rf"\b(?:{one_of(SCRIPTURES)})\.? \Z")
_MEASURED = re.compile(r"\d(?: ?[a-z]{1,2}\.?|[\"'])?\Z")
_COUNTED = re.compile(r"\d[%+]?(?: ?[A-Za-z]{1,8}(?:/[A-Za-z]{1,3})?)?\Z")
_POWER_OF_TEN = re.compile(rf"10(?:\^|{RAISED}|e\d)")
_DIGITS = re.compile(r"\d[\d,]*(?:\.\d+)?(?!\.?\d)")
_VERSES = re.compile(r"[-–]\d")
_COMPARED = (
    "faster|slower|larger|bigger|smaller|higher|lower|better|worse|cheaper|longer|shorter|greater|stronger|lighter"
    "|heavier|harder|easier|quicker|more|less|fewer|as|the|an?|per|daily|weekly"
)
"""What follows a number of times."""
_COMPARISONS = {
    ">=": "greater than or equal to", "<=": "less than or equal to", "!=": "does not equal", "==": "equals",
}  # fmt: skip


def _range(match: re.Match[str]) -> str | None:
    """A sign without spaces: "10-20", "5%-6%", "20k-30k"; minus in "7-4=3", nothing in "Llama-3-8B", "2025b-1"."""
    left, text, end = before(match), match.string, match.end()
    if _EQUATION.match(text, end):
        return "minus"
    unit, after = _UNIT_BEFORE.search(left), _UNIT_AFTER.match(text, end)
    if unit and unit[1].lower() not in _ENDINGS and not (after and after[1] == unit[1]):
        return None
    return "" if _NAME.search(left) else "to"


def _difference(match: re.Match[str]) -> str:
    """A sign between spaces: a range of times, amounts or rising numbers, else a difference ("10 - 5")."""
    text, end = match.string, match.end()
    if match["dash"] == "−" or _EQUATION.match(text, end):
        return "minus"
    left, right = re.search(r"(?<![\d.,])\d[\d,]*(?:\.\d+)?\Z", front := before(match)), _DIGITS.match(text, end)
    if not left or not right or front.endswith(":", 0, left.start()) or text[right.end() :].startswith((":", "%")):
        return "to"
    low, high = (float(side[0].replace(",", "")) for side in (left, right))
    return "to" if low < high else "minus"


def _ratio(match: re.Match[str]) -> str:
    """ "16:9", "1:1000", "3:2:1"; chapter and verse; minutes and seconds where an hour would be too long ("45:30")."""
    parts = match[0].split(":")
    said = [number(part) for part in parts]
    if _BOOK.search(before(match)) or _VERSES.match(match.string, match.end()):
        return " ".join(said)
    if re.fullmatch(r"\d{2,3}:[0-5]\d", match[0]) and int(parts[0]) + int(parts[1]) != 100:
        oh = "oh " if parts[1][0] == "0" else ""
        return f"{said[0]} minutes" if parts[1] == "00" else f"{said[0]} {oh}{cardinal(str(int(parts[1])))}"
    return " to ".join(said)


def _product(match: re.Match[str]) -> str | None:
    """An x between two numbers: measures of a thing ("2x4", "10 cm x 20 cm"), or a product ("3 x 4 = 12")."""
    if not _MEASURED.search(before(match)):
        return None
    text, end = match.string, match.end()
    return "times" if _EQUATION.match(text, end) or _POWER_OF_TEN.match(text, end) else "by"


def _rate(match: re.Match[str]) -> str | None:
    """A slash behind a number of things: "5/day", "$10/hr", "10 requests/s"."""
    return f"per {PER[match['per']]}" if _COUNTED.search(before(match)) else None


def _score(match: re.Match[str]) -> str:
    """ "4.5/5"."""
    above, below = match["above"], match["below"]
    return f"{number(above)} {'out of' if float(above) <= float(below) else 'over'} {number(below)}"


def _season(match: re.Match[str]) -> str | None:
    """ "2023/24"."""
    start, end = match["start"], match["end"]
    return f"{year(start)} {cardinal(end)}" if (int(start) + 1) % 100 == int(end) else None


RULES = (
    rule(r"(?<![\w.,:/])(?P<start>(?:19|20)\d\d)/(?P<end>\d\d)(?![\w/])", _season),
    rule(r"(?<![\w.,-])(?:24[-x]7|50-50)(?![\w-])", lambda m: f"{cardinal(m[0][:2])} {cardinal(m[0][3:])}"),
    rule(r"(?<![\w.,:])\d{1,4}(?:\.\d+)?(?::\d+(?:\.\d+)?){1,2}(?![\w:]|\.\d)", _ratio),
    rule(
        r"(?<![\w.,/])(?=[\d/]+\.\d)(?P<above>\d+(?:\.\d+)?)/(?P<below>\d+(?:\.\d+)?)(?![\w/])",
        _score,
    ),
    rule(
        rf"(?:(?<=[\d%°])|(?<={VULGAR})|(?<=\d[A-Za-z])|(?<=\d[A-Za-z]{{2}})|(?<=[ap]m)|(?<=[AP]M)|(?<=[ap]\.m\.)"
        rf"|(?<=noon)|(?<=midnight))[-–—](?:'?{_LATER}|(?=noon\b|midnight\b))",
        _range,
    ),
    rule(rf"(?:(?<=[\d%°])|(?<=\d[kKMB])|(?<=[ap]m)|(?<=[AP]M)|(?<=[ap]\.m\.)) (?P<dash>[-−–]) {_LATER}", _difference),
    rule(r"(?<=\d) ?[·⋅] ?(?=\d)|(?<=\d) ?\* ?(?=\d)", lambda _: "times"),
    rule(r"(?<=\d)\*\*(?=-?\d)", lambda _: "to the power of"),
    rule(r"(?<=\d) / (?=\d)", lambda _: "divided by"),
    rule(r" ?[xX] ?(?=\d)", _product),
    rule(r"(?<=\d{3}) ?× ?(?=\d{3})", lambda m: "times" if _EQUATION.match(m.string, m.end()) else "by"),
    rule(rf"(?P<times>{NUMBER})x(?= (?:{_COMPARED})\b)", lambda m: f"{number(m['times'])} times"),
    rule(r"(?:(?<=\dx)|(?<=\d x ))\d+s\b", lambda m: plural(cardinal(m[0][:-1]))),
    rule(rf"/(?P<per>{one_of(PER)})(?![\w²³])(?:(?:(?<=mo)|(?<=yr)|(?<=hr)|(?<=wk))\.)?", _rate),
    rule(rf"~ ?{_LATER}", lambda _: "about"),
    rule(r"(?<!\S)[-=]>(?!\S)", lambda _: "to"),
    rule(rf"(?<![-=<>!])(?:{one_of(_COMPARISONS)})(?![-=<>])", lambda m: _COMPARISONS[m[0]]),
    rule(rf"(?<!\w)[<>] ?{_LATER}|(?<=\d)(?<![A-Za-z]\d)[<>](?=\d)", lambda m: SYMBOLS[m[0][0]]),
)
"""Tried in this order: the more a form says, the earlier it stands."""
