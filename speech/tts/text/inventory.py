# ruff: noqa: RUF001, RUF002
"""The phonemes of English that every part agrees on: ARPAbet with stress, borders and pauses, each with a fixed id.

ARPAbet as in the CMU Pronouncing Dictionary: 39 phonemes, a vowel carries its stress (0 none, 1 primary, 2 secondary).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from speech.errors import SpeechError

VOWELS = tuple("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
CONSONANTS = tuple("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split())
PADDING, BORDER = "_", " "
PAUSES = tuple(",.?!;:-")
SYMBOLS = (
    PADDING,
    BORDER,
    *PAUSES,
    *CONSONANTS,
    *(vowel + stress for vowel in VOWELS for stress in "012"),
)
"""Every symbol; its place is its id. The order never changes, since trained voices depend on it."""

IDS = {symbol: i for i, symbol in enumerate(SYMBOLS)}

_FIRST = ord("0")

_IPA = {
    "ɑː": "AA", "ɑ": "AA", "ɒ": "AA", "a": "AA", "aː": "AA", "æ": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔː": "AO",
    "ɔ": "AO", "oː": "AO", "aʊ": "AW", "aɪ": "AY", "ɛ": "EH", "e": "EH", "ɛː": "EH", "ɚ": "ER", "ɝ": "ER", "ɜː": "ER",
    "ɜ": "ER", "ɝː": "ER", "eɪ": "EY", "eː": "EY", "ɪ": "IH", "ᵻ": "IH", "ɨ": "IH", "iː": "IY", "i": "IY", "oʊ": "OW",
    "əʊ": "OW", "o": "OW", "ɔɪ": "OY", "ʊ": "UH", "uː": "UW", "u": "UW", "ʉ": "UW", "eə": "EH AH", "ɪə": "IH AH",
    "ʊə": "UH AH", "iə": "IY AH", "b": "B", "tʃ": "CH", "ʧ": "CH", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "g": "G",
    "h": "HH", "dʒ": "JH", "ʤ": "JH", "k": "K", "l": "L", "ɫ": "L", "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R",
    "r": "R", "s": "S", "ʃ": "SH", "t": "T", "ɾ": "T", "ʔ": "T", "θ": "TH", "v": "V", "w": "W", "ʍ": "W", "j": "Y",
    "z": "Z", "ʒ": "ZH", "x": "K", "n\u0329": "AH N", "l\u0329": "AH L", "m\u0329": "AH M",
}  # fmt: skip
_ALWAYS_WEAK = frozenset("əɐᵻɨɚ")
_IPA_TOKEN = re.compile(
    "|".join(sorted(map(re.escape, _IPA), key=len, reverse=True)) + "|[ˈˌ'ˑː.\\s\u0361\u035c‿|‖\u200d]|."
)
_STRESS = {"ˈ": "1", "'": "1", "ˌ": "2"}


def from_ipa(text: str, strict: bool = True) -> tuple[str, ...]:
    """International Phonetic Alphabet to our phonemes: "təˈmeɪtoʊ" -> T AH0 M EY1 T OW0.

    A stress mark counts for the next vowel, so it may stand before the syllable or before its vowel; a word border is
    white space. Sounds that English lacks take the nearest it has; where there is none, SpeechError is raised, or
    with `strict` false the sound is left out.
    """
    phonemes: list[str] = []
    stress = "0"
    for token in _IPA_TOKEN.findall(text.replace("t͡ʃ", "tʃ").replace("d͡ʒ", "dʒ").strip()):
        if token in _STRESS:
            stress = _STRESS[token]
        elif token.isspace():
            phonemes.append(BORDER)
        elif token in _IPA:
            for phoneme in _IPA[token].split():
                if phoneme in VOWELS:
                    phonemes.append(phoneme + (stress if token[0] not in _ALWAYS_WEAK or stress == "1" else "0"))
                    stress = "0"
                else:
                    phonemes.append(phoneme)
        elif strict and token not in ".ˑː|‖‿\u0361\u035c\u200d":
            raise SpeechError(
                f"expected sounds of English in the phonetic alphabet, got {token!r} in {text!r}: replace it"
            )
    return tuple(phonemes)


def from_arpabet(text: str) -> tuple[str, ...]:
    """ARPAbet with spaces in between to our phonemes: "T AH0 M EY1 T OW0"; a vowel without a digit has no stress."""
    phonemes = tuple(p + "0" if p in VOWELS else p for p in text.upper().split())
    wrong = [p for p in phonemes if p not in IDS]
    if wrong:
        raise SpeechError(f"expected ARPAbet phonemes such as T AH0 M EY1 T OW0, got {wrong[0]!r}: replace it")
    return phonemes


def encode(phonemes: Iterable[str]) -> str:
    """Phonemes as text of one printable character each, for tables on disk."""
    return "".join(chr(IDS[phoneme] + _FIRST) for phoneme in phonemes)


def decode(text: str) -> tuple[str, ...]:
    """What `encode` wrote."""
    return tuple(SYMBOLS[ord(c) - _FIRST] for c in text)


def ids(phonemes: Iterable[str]) -> list[int]:
    """The ids of phonemes. Raises SpeechError for one that is not in the inventory."""
    try:
        return [IDS[phoneme] for phoneme in phonemes]
    except KeyError as error:
        raise SpeechError(f"expected phonemes of the inventory, got {error.args[0]!r}: see inventory.SYMBOLS") from None
