# ruff: noqa: RUF001
"""Rules for abbreviations, initialisms, Roman numerals, addresses and mixed letters and digits."""

from __future__ import annotations

import re
import unicodedata

from speech.tts.text.numbers import RAISED, cardinal, digits, number, ordinal, plural, power, year
from speech.tts.text.rule import before, one_of, rule
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
_SIDES = {"N": "north", "S": "south", "E": "east", "W": "west"}
_STREET = r"(?:[A-Z][a-z]+|\d+(?:st|nd|rd|th)) (?:St|Ave|Blvd|Rd|Dr|Ln|Street|Avenue|Boulevard|Road|Drive|Lane)\b"


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
    """A variable, or two of them, with an exponent: "x²", "mc²", "x^2"."""
    return f"{letters(match['base'])} {power(match['exponent'].lstrip('^'))}"


def _street_or_title(match: re.Match[str]) -> str:
    """ "St." and "Dr.": after a name a street, else a saint and a doctor; "Visit St. Louis" begins with no name."""
    street, title = {"St": ("street", "saint"), "Dr": ("drive", "doctor")}[match["word"]]
    before = match.string[: match.start()].split()
    after = match.string[match.end() :].lstrip()
    if not before or before[-1][-1] in ".,;:!?" or not re.match(r"[A-Z]|\d+(?:st|nd|rd|th)", before[-1]):
        return title
    opening = len(before) == 1 or before[-2][-1] in ".!?"
    return title if opening and after[:1].isupper() else street


def _bare_street(match: re.Match[str]) -> str | None:
    """ "St" and "Dr" without a period, where what stands around them tells: "12 Main St", "St Louis"."""
    street, title = {"St": ("street", "saint"), "Dr": ("drive", "doctor")}[match["word"]]
    before = match.string[: match.start()].split()
    named = bool(before) and bool(re.fullmatch(r"[A-Z][\w'-]*|\d+(?:st|nd|rd|th)", before[-1]))
    if re.match(r" [A-Z]", match.string[match.end() :]):
        return street if named and len(before) > 1 and before[-2].isdecimal() else title
    return street if named else None


def _third(match: re.Match[str]) -> str | None:
    """A Roman numeral that can be nothing else, after a name: "Rocky III"."""
    named = re.search(r"(?<!\w)[A-Z][a-z]+ \Z", before(match))
    return _roman_alone(match) if named else None


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
    """Letters and digits in turn: "CO2", "MP3s", "4K", "COVID-19", "GPT-3.5", "i7-8700K", "FY2024"."""
    text = match[0]
    if re.fullmatch(r"[A-Za-z]{2,}-?(?:19|20)\d\d", text):
        return f"{_mixed_part(text[:-4].rstrip('-'))} {year(text[-4:])}"
    many = text[0].isalpha() and bool(re.search(r"\ds\Z", text))
    spoken = " ".join(
        _mixed_part(part) for part in re.findall(r"[^\W\d_]+|\d+(?:\.\d+)*", text[: -1 if many else None])
    )
    return plural(spoken) if many else spoken


def _mixed_part(part: str) -> str:
    if part[0].isdecimal():
        if "." in part:
            return " point ".join(map(cardinal, part.split("."))) if part.count(".") > 1 else number(part)
        return cardinal(part) if len(part) < 5 else digits(part)
    return (
        part
        if len(part) > 3 or ((part.islower() or part.istitle()) and len(part) > 2) or part in LETTERS_AND_WORDS
        else letters(part)
    )


ADDRESSES = (
    rule(r"(?:https?://|ftp://|www\.)[^\s<>\"]*[\w/]", _address),
    rule(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
    rule(rf"(?<![\w.])(?:[A-Za-z][\w-]*\.)+(?:{_ENDINGS})\b(?:/[^\s<>\"]*[\w/])?", _address),
)

RULES = (
    rule(rf"(?<!\w)(?:{one_of(DOTTED)})(?!\w)", lambda m: DOTTED[m[0]]),
    rule(r"(?<!\w)and/or\b", lambda _: "and or"),
    rule(
        r"(?<!\w)(?:[Ss]/he|[Ss]?[Hh]e/s?he|[Hh](?:is|im)/hers?|[Hh]ers?/his)(?![\w/])",
        lambda m: m[0].replace("/", "he or s", 1) if m[0][1] == "/" else m[0].replace("/", " or "),
    ),
    rule(r"(?<![\w/])(?:[A-Za-z]/[A-Za-z])(?![\w/])", lambda m: letters(m[0])),
    rule(r"(?<=[A-Z]{2})/(?=[A-Z]{2})", lambda _: ""),
    rule(r"(?<!\w)(?P<word>St|Dr)\.(?!\w)", _street_or_title),
    rule(r"(?<!\w)(?P<word>St|Dr)(?![\w.'/-])", _bare_street),
    rule(r"(?<=[a-z] )(?P<word>Ave|Blvd|Rd|Ln|Hwy|Pkwy)(?![\w.]| [A-Z][a-z])", lambda m: ABBREVIATIONS[m["word"]]),
    rule(rf"(?<!\w)(?P<side>[NSEW])\.? (?={_STREET})", lambda m: _SIDES[m["side"]]),
    rule(r"(?<!\w)(?P<word>Mr|Mrs|Ms)\b\.?", _title),
    rule(rf"(?<!\w)(?P<word>{one_of(TITLES)})\.(?=\s*[A-Z])", _title),
    rule(rf"(?<!\w)(?P<word>{one_of(ABBREVIATIONS)})\.(?!\w)", lambda m: ABBREVIATIONS[m["word"]]),
    rule(rf"(?<!\w)(?P<noun>{one_of(NUMBERED)}) {_ROMAN_TAIL}", _numbered),
    rule(rf"(?<!\w)(?P<noun>{one_of(NUMBERED).lower()}) (?P<roman>[IVXLC]{{2,}})\b", _numbered),
    rule(r"(?<!\w)(?P<noun>[Pp]ages?|[Cc]hapter|[Ss]ection|[Pp]art) (?P<roman>[ivxl]{2,}|[vx])(?!\w)", _numbered),
    rule(rf"(?<!\w)(?P<noun>{one_of(REGNAL)}) {_ROMAN_TAIL}", _regnal),
    rule(r"(?<= )(?:II|III|VIII?|XIII?|XIV|XVI{1,3})(?!\w)", _third),
    rule("[Ⅰ-ⅿ]+", _roman_alone),
    rule(GREEK_LETTER, _greek),
    rule(rf"(?<!\w)(?P<base>[A-Za-z]|[b-df-hj-np-tv-xz]{{2}})(?P<exponent>{RAISED}|\^\d+)", _raised),
    rule(
        r"(?<!\w)(?P<left>[A-Z]{1,3}) ?& ?(?P<right>[A-Z]{1,3})(?P<tail>s?)\b",
        lambda m: f"{letters(m['left'])} and {letters(m['right'])}{m['tail'] and chr(39) + 's'}",
    ),
    rule(r"(?<!\w)(?:[A-Za-z]\.){2,}(?!\w)|(?<!\w)[A-Z](?:\.[A-Z])+(?!\w)", lambda m: letters(m[0])),
    rule(r"(?<!\w)(?P<initial>[A-Z])\.(?=\s?[A-Z]|\d)", lambda m: m["initial"]),
    rule(r"(?<!\w)(?P<zone>UTC|GMT)[-−](?=\d)", lambda m: f"{letters(m['zone'])} minus"),
    rule(
        r"(?<!\w)(?P<letter>[A-Z])(?P<low>\d{1,3})[-–](?P=letter)(?P<high>\d{1,3})(?!\w)",
        lambda m: f"{m['letter']} {cardinal(m['low'])} to {m['letter']} {cardinal(m['high'])}",
    ),
    rule(
        r"(?<!\w)(?:(?=[A-Za-z]+\d)[A-Za-z\d]+(?:(?<=\d)\.\d+)*(?:-\d+[A-Za-z]*)?|(?=\d+[A-Za-z])[A-Za-z\d]+"
        r"|[A-Z]+-\d+(?:\.\d+)*[A-Za-z\d]*)(?!\w)",
        _mixed,
    ),
    rule(r"(?<!\w)(?P<note>[A-G])#(?!\w)", lambda m: f"{m['note']} sharp"),
    rule(r"(?<=\w)\+\+", lambda _: "plus plus"),
    rule(r"\.NET\b", lambda _: "dot net"),
    rule(r"(?<!\S)\.(?=[a-z]{2}|[A-Z]{2})", lambda _: "dot"),
    rule(r"(?<![\w/])(?P<word>vs|etc)(?![\w./])", lambda m: ABBREVIATIONS[m["word"]]),
    rule(r"(?<![^\W\d])(?P<word>[A-Z]{2,})(?P<tail>'?s)?(?!\w)", _capitals),
    rule(r"#(?P<tag>(?:[A-Z][a-z]+){2,})(?!\w)", lambda m: f"hashtag {re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', m['tag'])}"),
    rule(r"#(?=[A-Za-z])", lambda _: "hashtag"),
    rule(r"(?<=\w)/(?=\w)", lambda _: "slash"),
    rule(r"(?<!\s)[<>]|[<>](?!\s)", lambda _: ""),
    rule(r"(?:(?<=\n)|(?<![^\n]))[-–•] ", lambda _: ""),
)
