# ruff: noqa: RUF001
"""Any string a user may send, to characters that the front end reads; and what in it no voice could say."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from speech.tts.text.tables import GREEK_LETTER, SYMBOLS

_PLAIN = str.maketrans(
    dict.fromkeys("‘’‚‛′ʼ´\u1ffd", "'")
    | dict.fromkeys("“”„‟″«»", '"')
    | dict.fromkeys("‐‑", "-")
    | {"⁄": "/", "∕": "/", "⅟": "1/", "∼": "~", "…": "...", "\u20e3": None}
    | {"\u2028": "\n", "\u2029": "\n\n", "\r": " ", "\x0b": "\n", "\x0c": "\n"}
    | {chr(first + i): chr(ord("①") + i) for first in map(ord, "❶➀➊") for i in range(10)}
)
"""Typographic characters and what they mean; a keycap mark leaves its digit, circled digits have one form."""

_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Cn"}
_PICTURES = re.compile("[\u2300-\u23ff\u2500-\u2bff\U0001f000-\U0001faff\ufe00-\ufe0f]")
"""Dingbats, box drawing, emoji, flags, their colours and variation selectors."""
_STYLED = re.compile(
    "(?:[\u00b5\u2080-\u209c\u2100-\u2101\u2103-\u2115\u2118-\u2121\u2123-\u2138\u24b6-\u24e9\u3300-\u33ff"
    "\u02b0-\u02b8\u02e1-\u02e3\u1d2c-\u1d5b\ufb00-\ufb06\uff01-\uffee\U0001d400-\U0001d7ff]|ⁿ(?=ᵈ))+"
)
"""Letters and digits in another dress: full width, ligatures, mathematical alphabets, subscripts, squared units, raised
endings ("2ⁿᵈ")."""
_SPOKEN_MARKS = frozenset(SYMBOLS) - frozenset("<>")
_SCRIPT_NAMES = {"CJK": "Chinese", "HANGUL": "Korean", "HIRAGANA": "Japanese", "KATAKANA": "Japanese"}
_NO_SCRIPT = frozenset({"MICRO", "FEMININE", "MASCULINE", "MODIFIER", "KELVIN", "ANGSTROM", "OHM", "SUPERSCRIPT"})


def strip(text: str) -> str:
    """Replace character by character: so that it may be called on any pieces of a text with one result.

    Control characters, emoji and private-use characters become a space, zero-width characters and lone surrogates
    vanish, carriage returns spaces, quotation marks and hyphens their ASCII form.
    """
    return "".join(_plain(c) for c in text.translate(_PLAIN))


def _plain(c: str) -> str:
    if c in "\n\t" or " " <= c <= "~":
        return c
    if _PICTURES.match(c):
        return "" if "\ufe00" <= c <= "\ufe0f" else " "
    category = unicodedata.category(c)
    if category in _INVISIBLE:
        return " " if category in {"Cc", "Co"} else ""
    return " " if category == "Zs" else c


def compose(text: str) -> str:
    """One form for what looks the same: accents composed (NFC); full-width, styled and joined letters plain (NFKC).

    Superscripts, fractions, circled digits and Roman numerals stay, since they are read in their own way ("m²", "½").
    """
    return unicodedata.normalize("NFC", _STYLED.sub(lambda m: _undressed(m[0]), text))


def _undressed(styled: str) -> str:
    return strip(unicodedata.normalize("NFKC", styled))


def clean(text: str) -> str:
    """A whole text as the front end sees it: `strip`, then `compose`, white space single, blank lines kept."""
    lines = re.split(r"\n[ \t]*\n\s*", compose(strip(text)))
    return "\n\n".join(joined for line in lines if (joined := " ".join(line.split())))


def speakable(text: str) -> bool:
    """Whether anything is left to say: a letter, a digit or a sign that has a name. False for "", "?!" and emoji."""
    return any(c.isalnum() or c in _SPOKEN_MARKS for c in compose(strip(text)))


def foreign(text: str, scripts: Collection[str] = ("LATIN",)) -> dict[str, str]:
    """The letters in scripts that a voice does not know: name of the script -> the letters that were found, each once.

    scripts: first words of Unicode character names, such as LATIN, GREEK, CYRILLIC, CJK, HIRAGANA, ARABIC. A Greek
    letter by itself is a symbol and is read by its name.
    """
    found: dict[str, dict[str, None]] = {}
    for c in re.sub(GREEK_LETTER, "", compose(strip(text))):
        if c.isascii() or not c.isalpha():
            continue
        script = unicodedata.name(c, "UNKNOWN").split()[0].split("-")[0]
        if script not in scripts and script not in _NO_SCRIPT:
            found.setdefault(_SCRIPT_NAMES.get(script, script.title()), {})[c] = None
    return {script: "".join(letters) for script, letters in found.items()}
