# ruff: noqa: RUF001
"""X-SAMPA, the phonetic alphabet in ASCII (Wells 1995), as far as English has the sounds."""

from __future__ import annotations

import re

from speech.errors import SpeechError
from speech.tts.text.inventory import from_ipa

_IPA = {
    "A": "ɑ", "a": "a", "Q": "ɒ", "{": "æ", "V": "ʌ", "@": "ə", "6": "ɐ", "O": "ɔ", "o": "o", "E": "ɛ", "e": "e",
    "@`": "ɚ", "3`": "ɝ", "3": "ɜ", "I": "ɪ", "I\\": "ᵻ", "1": "ɨ", "i": "i", "U": "ʊ", "u": "u", "}": "ʉ",
    "b": "b", "d": "d", "d_Z": "dʒ", "D": "ð", "f": "f", "g": "ɡ", "h": "h", "k": "k", "l": "l", "5": "ɫ", "l_G": "ɫ",
    "m": "m", "n": "n", "N": "ŋ", "p": "p", "r": "r", "r\\": "ɹ", "s": "s", "S": "ʃ", "t": "t", "t_S": "tʃ", "4": "ɾ",
    "?": "ʔ", "T": "θ", "v": "v", "w": "w", "W": "ʍ", "x": "x", "j": "j", "z": "z", "Z": "ʒ",
    "l=": "l\u0329", "m=": "m\u0329", "n=": "n\u0329",
    '"': "ˈ", "%": "ˌ", ":": "ː", ":\\": "ˑ", ".": ".", "-": "", " ": " ", "|": "|", "||": "‖",
}  # fmt: skip
_TOKEN = re.compile("|".join(sorted(map(re.escape, _IPA), key=len, reverse=True)) + r"|_?.[\\`]?", re.DOTALL)


def from_xsampa(text: str) -> tuple[str, ...]:
    """X-SAMPA to our phonemes: 't@"meItoU' -> T AH0 M EY1 T OW0; stress and borders as `inventory.from_ipa` has them.

    Raises SpeechError for what is not X-SAMPA, and for sounds that English has nothing like.
    """
    tokens = _TOKEN.findall(text)
    for token in tokens:
        if token not in _IPA:
            raise SpeechError(f"expected sounds of English in X-SAMPA, got {token!r} in {text!r}: replace it")
    return from_ipa("".join(_IPA[token] for token in tokens))
