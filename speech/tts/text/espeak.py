"""English words to phonemes by eSpeak NG (GPL-3.0), which is no part of this package and is installed by the user.

The library is looked for in the package `espeakng-loader` (library and data in one wheel, 21 MB), then on the system.
It is used through its C interface (speak_lib.h); its state is global, so one lock guards every call.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import re
import threading
from collections.abc import Sequence
from functools import lru_cache

from speech.errors import SpeechError
from speech.tts.text.inventory import from_ipa

_LOCK = threading.Lock()
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _IPA = 2, 0x8000, 1, 0x02
_WEAK = {"a": ("AH0",), "A": ("EY1",)}
"""The article; the library takes a single letter for its name."""
_KEPT = 1 << 16
"""Words whose pronunciations are remembered; all are forgotten when there would be more."""


def _locations() -> list[tuple[str, bytes | None]]:
    """Paths of the library with the path of its data, the likeliest first."""
    found: list[tuple[str, bytes | None]] = []
    if importlib.util.find_spec("espeakng_loader"):
        import espeakng_loader  # pyright: ignore[reportMissingImports]

        found.append((espeakng_loader.get_library_path(), espeakng_loader.get_data_path().encode()))
    if system := ctypes.util.find_library("espeak-ng"):
        found.append((system, None))
    return found


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """The initialised library. Raises SpeechError when there is none."""
    for path, data in _locations():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        if library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DONT_EXIT) > 0:
            library.espeak_TextToPhonemes.restype = ctypes.c_char_p
            return library
    raise SpeechError(
        "expected the library of eSpeak NG, found none: pip install espeakng-loader, or apt-get install libespeak-ng1"
    )


class Espeak:
    """Pronunciations of eSpeak NG, one word at a time, in our inventory. voice: a name of its voices, such as en-gb."""

    def __init__(self, voice: str = "en-us") -> None:
        self.voice = voice
        with _LOCK:
            self._select()
        self._known: dict[str, tuple[str, ...]] = {}

    def _select(self) -> ctypes.CDLL:
        library = _library()
        if library.espeak_SetVoiceByName(self.voice.encode()):
            raise SpeechError(
                f'expected a voice of eSpeak NG such as en-us, got "{self.voice}": see espeak-ng --voices'
            )
        return library

    def pronounce(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        """The phonemes of each word; sounds that English lacks and has nothing like are left out."""
        with _LOCK:
            if len(self._known) >= _KEPT:
                self._known.clear()
            new = [word for word in dict.fromkeys(words) if word not in self._known]
            library = self._select() if new else None
            for word in new:
                self._known[word] = _WEAK.get(word) or from_ipa(_ipa(library, word), strict=False)
            return [self._known[word] for word in words]


def _ipa(library: ctypes.CDLL | None, word: str) -> str:
    """The library's transcription of a word, without its notes on language changes."""
    assert library
    text = ctypes.create_string_buffer(word.encode())
    rest = ctypes.c_void_p(ctypes.addressof(text))
    parts = []
    while rest.value:
        parts.append(library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA).decode())
    return re.sub(r"\([a-z-]+\)", "", "".join(parts)).replace(" ", "")
