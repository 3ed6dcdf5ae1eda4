# ruff: noqa: RUF001
"""Rules for everything that is written with digits."""

from __future__ import annotations

import re
import unicodedata

from speech.tts.text.dates import DATE_PATTERNS, TIME_PATTERNS, date, time
from speech.tts.text.numbers import RAISED, VULGAR, cardinal, count, decade, digits, mixed, number, ordinal, power, year
from speech.tts.text.rule import one_of, rule
from speech.tts.text.tables import AREAS, COUNTED, CURRENCIES, SIZES, SYMBOLS, UNITS

_NUMBER = (
    rf"(?:(?:(?:\d{{1,3}}(?:,\d{{3}})+|\d+) ?)?{VULGAR}"
    r"|(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})* 000(?! ?\d)|\d+(?:\.\d+)?|(?<![\w.])\.\d+)"
    rf"{RAISED}?)"
)
_SIGNS = "[" + "".join(sign for sign in CURRENCIES if len(sign) == 1) + "]"
_LATER = f"(?={_SIGNS}?(?:\\d|{VULGAR}))"
"""What follows is a number, or an amount of money."""
_SIGN = r"(?:(?<![\w.)])[-−+])?"
_UNIT = one_of(unit for unit in UNITS if unit != "A")
_CODES = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}
_YEAR_BEFORE = re.compile(
    r"\b(?:in|since|by|from|until|till|before|after|around|circa|year|early|late|mid|spring|summer|fall|autumn|winter|to"
    r"|January|February|March|April|May|June|July|August|September|October|November|December)[ -]\Z",
    re.IGNORECASE,
)
_THINGS_AFTER = re.compile(
    r" (?!(?:was|is|has|as|this|its|his|us|various|census)\b)(?:[a-z]+s|people|men|women|children)\b"
)


def _money(match: re.Match[str]) -> str:
    """An amount before or after its currency, with a size or with cents: "$3.50", "€5 million", "$10-20"."""
    groups = match.groupdict()
    currency = groups["currency"]
    one, many, cent, cents = CURRENCIES[_CODES.get(currency, currency)]
    amount, upper, size = groups["amount"], groups.get("upper"), groups.get("size")
    minus = "minus " if groups.get("sign") else ""
    if size or upper:
        span = f"{number(amount)} to {number(upper)}" if upper else number(amount)
        return " ".join([minus + span, *([SIZES.get(size, size)] if size else []), many])
    whole, _, rest = amount.partition(".")
    if len(rest) != 2:
        return minus + count(amount, one, many)
    parts = [count(whole, one, many)] if whole.strip("0") or not rest.strip("0") else []
    parts += [count(str(int(rest)), cent, cents)] if rest.strip("0") else []
    return minus + " and ".join(parts)


def _unit(match: re.Match[str]) -> str:
    """A number with its unit: "5 km", "-5 °C", "10 mg/ml"; "a 5-km run" keeps the singular."""
    one, many = UNITS[match["unit"]]
    if match["hyphen"]:
        many = one
    spoken = count(match["amount"], one, many)
    return f"{spoken} per {UNITS[match['per']][0]}" if match["per"] else spoken


def _telephone(match: re.Match[str]) -> str:
    """Digits in the groups they are written in."""
    groups = [digits(group) for group in re.findall(r"\d+", match[0])]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _fraction(match: re.Match[str]) -> str | None:
    """ "1/2", "2 3/4"; "24/7" and "9/11" have names of their own."""
    whole, above, below = match["whole"], match["above"], match["below"]
    if (above, below) in {("24", "7"), ("9", "11")} and not whole:
        return f"{cardinal(above)} {cardinal(below)}"
    return mixed((whole or "").rstrip(" -"), above, below)


def _dotted(match: re.Match[str]) -> str:
    """Versions and network addresses: "v2.0", "1.2.3", "192.168.0.1"."""
    parts = match["parts"].split(".")
    word = " dot " if len(parts) == 4 else " point "
    return ("version " if match["version"] else "") + word.join(cardinal(part) for part in parts)


def _power(match: re.Match[str]) -> str:
    """ "1e6" and "10^6"."""
    exponent = number(match["exponent"])
    if match["mark"] == "^":
        return f"{number(match['base'])} to the power of {exponent}"
    return f"{number(match['base'])} times ten to the power of {exponent}"


def _year(match: re.Match[str]) -> str | None:
    """Four digits that are a year: after a preposition or a month, in a span, or 1900 to 2099 and no quantity."""
    text, value = match.string, int(match[0])
    span = re.match(r"[-–](?:\d{4}|\d\d)(?!\d)", text[match.end() :])
    told = _YEAR_BEFORE.search(text, max(0, match.start() - 12), match.start())
    if span or (match.start() and re.search(r"\d{4}[-–]\Z", text[: match.start()])):
        return year(match[0])
    if not _THINGS_AFTER.match(text, match.end()) and (told or 1900 <= value < 2100):
        return year(match[0])
    return None


def _area(match: re.Match[str]) -> str:
    """A unit of areas or volumes without a number: "per m²", "measured in m²"."""
    return AREAS[match[0]][match.string[: match.start()].endswith("in ")]


def _enclosed(match: re.Match[str]) -> str:
    """ "①" and "⒈"."""
    return cardinal(str(int(unicodedata.numeric(match[0]))))


def _plain(match: re.Match[str]) -> str:
    return number(match[0])


RULES = (
    *(rule(rf"(?<![\w/.-]){pattern}", date) for pattern in DATE_PATTERNS),
    *(rule(rf"(?<![\w:]){pattern}", time) for pattern in TIME_PATTERNS),
    rule(r"\+\d{1,3}(?:[ .-]?\(?\d{2,4}\)?){2,4}(?!\d)", _telephone),
    rule(r"(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-.]\d{4}(?![\d-])", _telephone),
    rule(r"\d{3}-\d{4}(?![\d-])|\d{3}-\d{2}-\d{4}(?!\d)", _telephone),
    rule(r"'?(?P<from>\d{3}0|\d0)'?s\b", lambda m: decade(m["from"])),
    rule(
        rf"(?P<sign>(?<![\w.)])[-−])?(?P<currency>{one_of(CURRENCIES)}) ?(?P<amount>{_NUMBER})"
        rf"(?:[-–](?P=currency)?(?P<upper>{_NUMBER}))?(?: ?(?P<size>thousand|million|billion|trillion|bn|[kKmMBT])\b)?",
        _money,
    ),
    rule(rf"(?P<amount>{_NUMBER}) ?(?P<currency>(?!\$){_SIGNS}|{one_of(_CODES)})(?!\w)", _money),
    rule(rf"(?P<amount>{_NUMBER}) ?¢", lambda m: count(m["amount"], "cent", "cents")),
    rule(rf"{_SIGN}{_NUMBER} ?%", lambda m: f"{number(m[0].rstrip('% '))} percent"),
    rule(
        rf"(?P<feet>\d{{1,2}})' ?(?P<inches>\d{{1,2}}{VULGAR}?)(?:\"|'')?(?!\w)",
        lambda m: f"{cardinal(m['feet'])} foot {number(m['inches'])}",
    ),
    rule(r"(?P<version>[vV]\.? ?)(?P<parts>\d+(?:\.\d+)*)(?![\w])", _dotted),
    rule(r"(?P<version>)(?P<parts>\d+(?:\.\d+){2,})(?!\w)", _dotted),
    rule(r"(?P<whole>\d+[ -])?(?P<above>\d{1,3})/(?P<below>\d{1,3})(?![\d/])", _fraction),
    rule(rf"(?P<base>{_SIGN}{_NUMBER})(?P<mark>[eE^])(?P<exponent>[-+]?\d+)(?!\w)", _power),
    rule(rf"(?P<amount>{_SIGN}{_NUMBER})(?:(?P<hyphen>-)| ?)(?P<unit>{_UNIT})(?:/(?P<per>{_UNIT}))?(?![\w/])", _unit),
    rule(r"(?P<rank>\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", lambda m: ordinal(m["rank"])),
    rule(rf"(?:(?<!\w)(?:{one_of(COUNTED)})) ?(?=\d)", lambda m: COUNTED[m[0].strip()]),
    rule(rf"(?:(?<=\d)|(?<={VULGAR})|(?<=[ap]m)|(?<=[AP]M))[-–—]{_LATER}", lambda _: "to"),
    rule(r"(?<=\d) [-−–] (?=\d)", lambda _: "minus"),
    rule(r"(?<=\d) ?[·⋅] ?(?=\d)", lambda _: "times"),
    rule(rf"~ ?{_LATER}", lambda _: "about"),
    rule(rf"(?<!\w)[<>] ?{_LATER}", lambda m: SYMBOLS[m[0][0]]),
    rule(rf"(?<!\w)(?:{one_of(unit for unit in AREAS if not unit.isascii())})(?!\w)", _area),
    rule(rf"(?<=[)Α-ω]){RAISED}", lambda m: power(m[0])),
    rule("[①-⒛⓪-⓿㉑-㉟㊱-㊿]", _enclosed),
    rule(r"(?<![\w.,])(?:1[1-9]|20)\d\d(?![\w,]\d|\w|\.\d)", _year),
    rule(rf"(?:\d+ ?)?{VULGAR}", _plain),
    rule(rf"{_SIGN}{_NUMBER}(?![A-Za-z])", _plain),
)
"""Tried in this order: the more a form says, the earlier it stands."""
