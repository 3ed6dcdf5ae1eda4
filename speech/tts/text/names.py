# ruff: noqa: RUF001
"""Rules for abbreviations, initialisms, Roman numerals, addresses and mixed letters and digits."""

from __future__ import annotations

import re
import unicodedata

from speech.tts.text.numbers import RAISED, cardinal, digits, ordinal, power
from speech.tts.text.rule import one_of, rule
from speech.tts.text.tables import (
    ABBREVIATIONS,
    DOTTED,
    GREEK_LETTER,
    LETTERS_AND_WORDS,
    NUMBERED,
    REGNAL,
    SHORT_WORDS,
    TITLES,
)

_ADDRESS_MARKS = {
    ".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "~": "tilde", "+": "plus",
}  # fmt: skip
_ENDINGS = (
    "com|org|net|edu|gov|info|io|co|uk|de|ai|dev|app|us|eu|py|js|txt|pdf|md|csv|json|html|wav|mp3|png|jpg|exe|zip"
)
_ROMAN = re.compile(r"(?=.)M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN_TAIL = r"(?P<roman>[IVXLC]{2,}|[VX]|I(?=\s*(?:[.,:;!?)]|\Z))|[Ⅰ-ⅿ]+)\b"


def letters(text: str) -> str:
    """The letters of `text` one by one, in capitals: "fbi" -> "F B I"."""
    return " ".join(c.upper() for c in text if c.isalnum())


def _address(match: re.Match[str]) -> str:
    """A page, a mailbox or a file, every mark by its name."""
    text = re.sub(r"^(?:https?|ftp)://", "", match[0]).rstrip("/")
    return " ".join(_address_part(part) for part in re.findall(r"[^\W\d_]+|\d+|\W|_", text))


def _address_part(part: str) -> str:
    if part.isdecimal():
        return cardinal(part) if len(part) < 3 else digits(part)
    if not part.isalpha():
        return _ADDRESS_MARKS.get(part, "")
    return letters(part) if len(part) < 3 or not re.search("[aeiouy]", part, re.IGNORECASE) else part


def _roman(text: str) -> str | None:
    """A well-formed Roman numeral below 4000, of letters or of characters of its own, in digits."""
    text = unicodedata.normalize("NFKC", text).upper()
    if not _ROMAN.fullmatch(text):
        return None
    values = [_ROMAN_VALUES[c] for c in text]
    return str(sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True)))


def _numbered(match: re.Match[str]) -> str | None:
    value = _roman(match["roman"])
    return value and f"{match['noun']} {cardinal(value)}"


def _regnal(match: re.Match[str]) -> str | None:
    value = _roman(match["roman"])
    return value and f"{match['noun']} the {ordinal(value)}"


def _roman_alone(match: re.Match[str]) -> str | None:
    value = _roman(match[0])
    return value and cardinal(value)


def _greek(match: re.Match[str]) -> str:
    """The name of a letter; Unicode spells lambda without its b."""
    return unicodedata.name(match[0]).split()[-1].lower().replace("lamda", "lambda")


def _raised(match: re.Match[str]) -> str:
    """A variable, or two of them, with an exponent: "x²", "mc²"."""
    return f"{letters(match['base'])} {power(match['exponent'])}"


def _street_or_title(match: re.Match[str]) -> str:
    """ "St." and "Dr.": after a name a street, else a saint and a doctor; "Visit St. Louis" begins with no name."""
    street, title = {"St": ("street", "saint"), "Dr": ("drive", "doctor")}[match["word"]]
    before = match.string[: match.start()].split()
    after = match.string[match.end() :].lstrip()
    if not before or before[-1][-1] in ".,;:!?" or not re.match(r"[A-Z]|\d+(?:st|nd|rd|th)", before[-1]):
        return title
    opening = len(before) == 1 or before[-2][-1] in ".!?"
    return title if opening and after[:1].isupper() else street


def _title(match: re.Match[str]) -> str:
    return TITLES[match["word"]]


def _capitals(match: re.Match[str]) -> str | None:
    """An initialism letter by letter; a word in capitals, or a whole text in capitals, is left as it stands."""
    word, tail = match["word"], match["tail"]
    shouted = match.string.isupper() and " " in match.string.strip()
    if word in LETTERS_AND_WORDS or word in SHORT_WORDS or shouted:
        return None
    if len(word) > 3 and re.search("[AEIOUY]", word) and word not in {"IEEE", "UCLA", "ICBM", "NYSE", "USSR", "USDA"}:
        return None
    return letters(word) + ("'s" if tail else "")


def _mixed(match: re.Match[str]) -> str:
    """Letters and digits in turn: "CO2", "MP3", "4K", "COVID-19", "x86"."""
    parts = re.findall(r"[^\W\d_]+|\d+", match[0])
    return " ".join(_mixed_part(part) for part in parts)


def _mixed_part(part: str) -> str:
    if part.isdecimal():
        return cardinal(part) if len(part) < 5 else digits(part)
    return part if len(part) > 3 or (part.islower() and len(part) > 2) or part in LETTERS_AND_WORDS else letters(part)


ADDRESSES = (
    rule(r"(?:https?://|ftp://|www\.)[^\s<>\"]*[\w/]", _address),
    rule(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
    rule(rf"(?<![\w.])(?:[A-Za-z][\w-]*\.)+(?:{_ENDINGS})\b(?:/[^\s<>\"]*[\w/])?", _address),
)

RULES = (
    rule(rf"(?<!\w)(?:{one_of(DOTTED)})(?!\w)", lambda m: DOTTED[m[0]]),
    rule(r"(?<!\w)and/or\b", lambda _: "and or"),
    rule(r"(?<!\w)(?P<word>St|Dr)\.(?!\w)", _street_or_title),
    rule(r"(?<!\w)Dr(?= [A-Z])", lambda _: "doctor"),
    rule(r"(?<!\w)(?P<word>Mr|Mrs|Ms)\b\.?", _title),
    rule(rf"(?<!\w)(?P<word>{one_of(TITLES)})\.(?=\s*[A-Z])", _title),
    rule(rf"(?<!\w)(?P<word>{one_of(ABBREVIATIONS)})\.(?!\w)", lambda m: ABBREVIATIONS[m["word"]]),
    rule(rf"(?<!\w)(?P<noun>{one_of(NUMBERED)}) {_ROMAN_TAIL}", _numbered),
    rule(rf"(?<!\w)(?P<noun>{one_of(REGNAL)}) {_ROMAN_TAIL}", _regnal),
    rule("[Ⅰ-ⅿ]+", _roman_alone),
    rule(GREEK_LETTER, _greek),
    rule(rf"(?<!\w)(?P<base>[A-Za-z]|[b-df-hj-np-tv-xz]{{2}})(?P<exponent>{RAISED})", _raised),
    rule(r"(?<!\w)(?P<left>[A-Z]{1,3}) ?& ?(?P<right>[A-Z]{1,3})\b", lambda m: f"{letters(m[1])} and {letters(m[2])}"),
    rule(r"(?<!\w)(?:[A-Za-z]\.){2,}(?!\w)|(?<!\w)[A-Z](?:\.[A-Z])+(?!\w)", lambda m: letters(m[0])),
    rule(r"(?<!\w)(?P<initial>[A-Z])\.(?=\s?[A-Z])", lambda m: m["initial"]),
    rule(r"(?<!\w)(?:(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]+|[A-Z]{2,}(?=-\d))(?:-\d+)?(?!\w)", _mixed),
    rule(r"(?<!\w)(?P<word>[A-Z]{2,})(?P<tail>'?s)?(?!\w)", _capitals),
    rule(r"#(?=[A-Za-z])", lambda _: "hashtag"),
    rule(r"(?<=\w)/(?=\w)", lambda _: "slash"),
    rule(r"(?<!\s)[<>]|[<>](?!\s)", lambda _: ""),
    rule(r"(?:(?<=\n)|(?<![^\n]))[-–•] ", lambda _: ""),
)
