# ruff: noqa: RUF001
"""Rules for numbers and what they count: money, units, sizes, telephone numbers, fractions, versions, years."""

from __future__ import annotations

import re
import unicodedata

from speech.tts.text.numbers import (
    NUMBER,
    RAISED,
    SIGN,
    VULGAR,
    cardinal,
    count,
    decade,
    digits,
    mixed,
    number,
    ordinal,
    power,
    year,
)
from speech.tts.text.rule import before, one_of, rule
from speech.tts.text.tables import AREAS, COUNTED, CURRENCIES, CURRENCY_SIGN, PER, SIZES, STATES, UNITS

_UNIT = one_of(unit for unit in UNITS if unit not in {"A", "in"})
_SHORT = "lbs?|oz|ft|in|yds?|hrs?|mins?|secs?|wks?|mos?|yrs?|tsp|[tT]bsp|qts?|gal"
"""Units that are often written with a period."""
_BARE = "km|m|cm|mm|mi|g|kg|mg|μg|mcg|L|mL|ml|mmol|kWh|KB|MB|GB"
_CODES = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "AUD": "A$", "CAD": "C$", "CNY": "¥"}
_AMOUNT = rf"(?:\d{{1,3}}(?:\.\d{{3}})*,\d\d(?![\d,])|{NUMBER})"
"""An amount of money, also in the European way: "1.234,50"."""
_THINGS = r" (?!(?:was|is|has|as|this|its|his|us|various|census)\b)(?:[a-z]+s|people|men|women|children)\b"
_THINGS_AFTER = re.compile(_THINGS)
_MANY_AFTER = re.compile(rf"(?:[-–]\$?[\d.]+[kMBT])?\+?{_THINGS}")
_ARTICLE = re.compile(r"(?<!\w)an? \Z", re.IGNORECASE)
_RACE_AFTER = re.compile(r" (?:dash|sprint|hurdles|race|relay|finals?|freestyle|butterfly|backstroke|breaststroke)\b")
_SECONDS_BEFORE = re.compile(r"(?:\b(?:for|after|every|within|takes|took)|[=~:]) ?\Z")
_SECONDS_AFTER = re.compile(r"[^\w ]|\Z| (?:and|or|before|after|then|to|at|on|in|until|each|per)\b")
_DURATION = r"(?:(?P<d>\d+)d ?)?(?:(?P<h>\d+)h ?)?(?:(?P<m>\d+)m(?:in)?)?(?: ?(?P<s>\d+)s)?"
_NOUN_AFTER = re.compile(r" (?!(?:long|wide|tall|high|deep|thick|and|or|by|x|of|in|from|to|at|is|on|for|with)\b)[a-z]")
_INCHES = re.compile(rf"(?P<article>(?<!\w)an? )?(?P<number>(?:\d+[ -])?(?:(?<!\d)\d{{1,3}}(?:[./]\d+)?|{VULGAR}))\Z")
_YEAR_BEFORE = re.compile(
    r"\b(?:in|since|by|from|until|till|before|after|around|circa|year|early|late|mid|spring|summer|fall|autumn|winter|to"
    r"|AD|January|February|March|April|May|June|July|August|September|October|November|December)[ -]\Z",
    re.IGNORECASE,
)
_MEDIEVAL = re.compile(r"\b(?:in|since|year|AD|circa|ca?\.) \Z", re.IGNORECASE)


def _money(match: re.Match[str]) -> str:
    """An amount before or after its currency, with size or cents: "$3.50", "€5 million", "$10-20", "a $5 fee"."""
    groups = match.groupdict()
    currency = groups["currency"]
    one, many, cent, cents = CURRENCIES[_CODES.get(currency, currency)]
    amount, upper, size = _decimal(groups["amount"]), groups.get("upper"), groups.get("size")
    minus = "minus " if groups.get("sign") else ""
    if _ARTICLE.search(before(match)):
        many, cents = one, cent
    if size or upper:
        span = f"{number(amount)} to {number(_decimal(upper))}" if upper else number(amount)
        return " ".join([minus + span, *([SIZES.get(size, size)] if size else []), many])
    whole, _, rest = amount.partition(".")
    if len(rest) != 2:
        return minus + count(amount, one, many)
    parts = [count(whole, one, many)] if whole.strip("0") or not rest.strip("0") else []
    parts += [count(str(int(rest)), cent, cents)] if rest.strip("0") else []
    return minus + " and ".join(parts)


def _decimal(amount: str) -> str:
    """An amount of money with a decimal point: "1.234,50" -> "1234.50"."""
    return amount.replace(".", "").replace(",", ".") if amount[-3:-2] == "," else amount


def _unit(match: re.Match[str]) -> str:
    """A number with its unit: "5 km", "-5 °C", "10 mg/ml", "6 ft. tall"; "a 5 km run" keeps the singular."""
    one, many = UNITS[match["unit"] or match["short"]]
    length = match["short"] in {"in", "ft"} and _NOUN_AFTER.match(match.string, match.end())
    if match["hyphen"] or length or _ARTICLE.search(before(match)) or _RACE_AFTER.match(match.string, match.end()):
        many = one
    spoken = count(match["amount"], one, many)
    return f"{spoken} per {UNITS[match['per']][0]}" if match["per"] else spoken


def _large(match: re.Match[str]) -> str | None:
    """A number with its size, where it is no name such as "3M", "4K" and "7B": "3.5M", "250k users", "2bn"."""
    amount, size = match["amount"], match["size"] or match["short"]
    many = _MANY_AFTER.match(match.string, match.end())
    whole = size in {"M", "B"} and "." in amount and amount[0] != "0"
    if len(size) == 1 and not whole and (not many or match[0] == "3M" or (size == "m" and "people" not in many[0])):
        return None
    return f"{number(amount)} {SIZES[size]}"


def _duration(match: re.Match[str]) -> str:
    """ "1h30m"."""
    return " ".join(
        count(match[unit[0]], unit, f"{unit}s") for unit in ("day", "hour", "minute", "second") if match[unit[0]]
    )


def _decade(match: re.Match[str]) -> str | None:
    """ "1990s", "'90s"; "for 30s" is another thing."""
    seconds = _SECONDS_BEFORE.search(before(match)) and _SECONDS_AFTER.match(match.string, match.end())
    return None if seconds and re.fullmatch(r"\d0s", match[0]) else decade(match["from"])


def _inches(match: re.Match[str]) -> str | None:
    """The sign behind a number: "a 6\" pipe", where no quotation is open that it might end."""
    text, start = match.string, match.start()
    opened = False
    for quote in re.finditer('"', text[:start]):
        opened = not opened and not text[: quote.start()][-1:].isdecimal()
    found = _INCHES.search(before(match))
    if opened or not found:
        return None
    single = (
        found["article"]
        or _NOUN_AFTER.match(text, match.end())
        or not re.fullmatch(r"(?!1\Z)[\d.]+|\d+[ -].*", found["number"])
    )
    return "inch" if single else "inches"


def _telephone(match: re.Match[str]) -> str:
    """Digits in the groups they are written in; words as they are."""
    groups = [
        cardinal(group) if group in {"800", "900"} else digits(group) or group
        for group in re.findall(r"\d+|[A-Z]+", match[0])
    ]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _fraction(match: re.Match[str]) -> str | None:
    """ "1/2", "2 3/4"; "24/7", "9/11" and the like have names of their own; "10/10" and "4/5 stars" are scores."""
    whole, above, below = match["whole"], match["above"], match["below"]
    if not whole and (above, below) in {("24", "7"), ("9", "11"), ("20", "20"), ("50", "50")}:
        return f"{cardinal(above)} {cardinal(below)}"
    if not whole and (above == below or re.compile(" (?:stars|points)").match(match.string, match.end())):
        return f"{cardinal(above)} out of {cardinal(below)}"
    return mixed((whole or "").rstrip(" -"), above, below)


def _dotted(match: re.Match[str]) -> str:
    """Versions and network addresses: "v2.0", "1.2.3", "192.168.0.1"."""
    parts = match["parts"].split(".")
    word = " dot " if len(parts) == 4 else " point "
    return ("version " if match["version"] else "") + word.join(cardinal(part) for part in parts)


def _power(match: re.Match[str]) -> str:
    """ "1e6" and "10^6"."""
    exponent = number(match["exponent"].lstrip("+"))
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
    if value < 1100:
        told = _MEDIEVAL.search(before(match))
    if not _THINGS_AFTER.match(text, match.end()) and (told or 1900 <= value < 2100):
        return year(match[0])
    return None


def _area(match: re.Match[str]) -> str:
    """A unit of areas or volumes without a number: "per m²", "measured in m²"."""
    return AREAS[match[0]][match.string[: match.start()].endswith("in ")]


def _enclosed(match: re.Match[str]) -> str:
    """ "①" and "⒈"."""
    return cardinal(str(int(unicodedata.numeric(match[0]))))


def _groups(match: re.Match[str]) -> str:
    """Three numbers or more with hyphens between them: "4-4-2", "978-3-16-148410-0"."""
    return ", ".join(cardinal(group) if len(group) < 3 else digits(group) for group in match[0].split("-"))


def _plain(match: re.Match[str]) -> str:
    return number(match[0])


RULES = (
    rule(r"\+\d{1,3}(?:[ .-]?\(?\d{2,4}\)?){2,4}(?!\d)", _telephone),
    rule(r"(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-.]\d{4}(?![\d-])", _telephone),
    rule(r"\d{3}-\d{4}(?![\d-])|\d{3}-\d{2}-\d{4}(?!\d)", _telephone),
    rule(r"1-[89]\d\d-(?=[\d-]*[A-Z])[A-Z\d]+(?:-[A-Z\d]+)*(?!\w)", _telephone),
    rule(r"(?<![\w.,-])0(?:\d{2,4}(?:[ -]\d{3,4}){2}|\d{4}[ -]\d{6})(?![\w-])", _telephone),
    rule(rf"(?:(?<=[Cc]all )|(?<=[Dd]ial ))[1-9]\d\d(?!\w|[-.,/:]\d|{_THINGS})", lambda m: digits(m[0])),
    rule(r"(?<![\w.-])\d+(?:-\d+){2,}(?![\w-])", _groups),
    rule(
        rf"(?:(?<=[a-z], )|(?<=[a-z] ))(?P<state>{one_of(STATES)}) (?P<zip>\d{{5}}(?:-\d{{4}})?)(?!\w|,\d)",
        lambda m: f"{STATES[m['state']]} {digits(m['zip'])}",
    ),
    rule(r"(?<=D\.C\. )\d{5}(?!\w|,\d)", lambda m: digits(m[0])),
    rule(r"'?(?P<from>\d{3}0|\d0)'?s\b", _decade),
    rule(r"\d+ers\b", lambda m: cardinal(m[0][:-3]).removesuffix("e") + "ers"),
    rule(
        rf"(?P<sign>(?<![\w.)%])[-−])?(?P<currency>{one_of([*CURRENCIES, *_CODES])}) ?(?P<amount>{_AMOUNT})"
        rf"(?:[-–](?P=currency)?(?P<upper>{_AMOUNT})(?!\w*-))?"
        r"(?: ?(?P<size>thousand|million|billion|trillion|[bmt]n|[kKmMBT])\b)?",
        _money,
    ),
    rule(rf"(?P<amount>{_AMOUNT}) ?(?P<currency>(?!\$){CURRENCY_SIGN}|{one_of(_CODES)})(?!\w)", _money),
    rule(rf"(?P<amount>{NUMBER}) ?¢", lambda m: count(m["amount"], "cent", "cents")),
    rule(rf"{SIGN}{NUMBER} ?%", lambda m: f"{number(m[0].rstrip('% '))} percent"),
    rule(rf"(?P<amount>{NUMBER})(?:(?P<size>[kmMBT])(?![\w/])| ?(?P<short>[bmt]n)\b)", _large),
    rule(
        rf"(?P<feet>\d{{1,2}})' ?(?P<inches>\d{{1,2}}{VULGAR}?)(?:\"|'')?(?!\w)",
        lambda m: f"{cardinal(m['feet'])} foot {number(m['inches'])}",
    ),
    rule(r"(?P<feet>\d{1,3})'(?= (?:tall|high|long|wide|deep|by|x)\b)", lambda m: count(m["feet"], "foot", "feet")),
    rule(rf"(?:(?<=\d)|(?<={VULGAR}))\"(?!\w)", _inches),
    rule(
        r"(?<![\w.,])[1-9]\d{0,2}(?:(?:_\d{3})+|(?:'\d{3})+|(?:\.\d{3}){2})(?!\w|[_'.]\d)",
        lambda m: cardinal(re.sub(r"\D", "", m[0])),
    ),
    rule(r"(?P<version>[vV]\.? ?)(?P<parts>\d+(?:\.\d+)*)(?![\w])", _dotted),
    rule(r"(?P<version>)(?P<parts>\d+(?:\.\d+){2,})(?!\w)", _dotted),
    rule(r"(?P<whole>\d+[ -])?(?P<above>\d{1,3})/(?P<below>\d{1,3})(?![\d/])", _fraction),
    rule(rf"(?P<base>{SIGN}{NUMBER})(?P<mark>[eE^])(?P<exponent>[-+]?\d+)(?!\w)", _power),
    rule(rf"(?<![\w.,])(?=\d+[dhm] ?\d+[hms]){_DURATION}(?!\w)", _duration),
    rule(r"40[13]\(?[bk]\)?(?!\w)", lambda m: f"four oh {cardinal(m[0][2])} {m[0].strip('()')[-1].upper()}"),
    rule(
        r"(?P<lines>240|360|480|576|720|1080|1440|2160)(?P<scan>[pi])(?![A-Za-z])",
        lambda m: f"{cardinal(m['lines'][:-2])} {cardinal(m['lines'][-2:])} {m['scan'].upper()}",
    ),
    rule(r"(?P<age>\d{1,3}) ?(?:yo|y/o)(?!\w)", lambda m: f"{cardinal(m['age'])} year old"),
    rule(r"0(?P<hour>\d)00(?= (?:hours|hrs)\b)", lambda m: f"zero {cardinal(m['hour'])} hundred"),
    rule(
        rf"(?P<amount>{SIGN}{NUMBER})(?:(?P<hyphen>-)| ?)(?:(?P<short>{_SHORT})\.(?= [a-z])"
        rf"|(?P<unit>{_UNIT}|(?<! )in(?!-)|in(?= [x×] \d))(?:/(?P<per>{_UNIT}))?"
        rf"(?!\w|'s|/(?!(?:{one_of(PER)})\b)|(?<= [NSW])\.? (?:[A-Z][a-z]|\d+(?:st|nd|rd|th))))",
        _unit,
    ),
    rule(
        rf"(?<![\w/])(?P<unit>{_BARE})/(?P<per>h|s|kg|L|l|mL|ml|dL|m²|m³|day)(?![\w/])",
        lambda m: f"{UNITS[m['unit']][1]} per {PER[m['per']]}",
    ),
    rule(rf"(?<=per )(?:{_UNIT})(?![\w/])", lambda m: UNITS[m[0]][0]),
    rule(r"(?P<rank>\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", lambda m: ordinal(m["rank"])),
    rule(rf"(?:(?<!\w)(?:{one_of(COUNTED)})) ?(?=\d)", lambda m: COUNTED[m[0].strip()]),
    rule(r"(?<!\w)ca?\. ?(?=[12]\d{3}(?!\d))", lambda _: "circa"),
    rule(rf"(?<!\w)(?:{one_of(unit for unit in AREAS if not unit.isascii())})(?!\w)", _area),
    rule(rf"(?<=[)Α-ω])(?:{RAISED}|\^\d+)", lambda m: power(m[0].lstrip("^"))),
    rule("[①-⒛⓪-⓿㉑-㉟㊱-㊿]", _enclosed),
    rule(r"(?:(?<![\w.,])|(?<=\bc\.))(?:1\d|20)\d\d(?![\w,]\d|\w|\.\d| ?[x×] ?\d)", _year),
    rule(rf"(?:\d+ ?)?{VULGAR}", _plain),
    rule(rf"(?>{SIGN}{NUMBER})(?![A-Za-z])", _plain),
    rule(rf"{SIGN}(?:\d{{1,3}}(?:,\d{{3}})+|\d+(?=\.))(?:\.\d+)?(?=[A-Za-z])|(?!0x)\d+(?=[xX]\d)", _plain),
)
"""Tried in this order: the more a form says, the earlier it stands."""
