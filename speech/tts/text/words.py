"""Text for a language model that reads while it is written: released at word borders only."""

from __future__ import annotations

import re

_BORDER = re.compile(r"(?<=\S)[ \t]")


class WordBuffer:
    """Holds back the word that is still growing.

    A cut lies in front of a space that follows a word: byte-pair vocabularies of the GPT-2 kind attach a space to the
    word behind it and never join across that place, so the tokens of the pieces are the tokens of the whole text.
    """

    def __init__(self) -> None:
        self._rest = ""

    def push(self, text: str) -> str:
        """Take in the next characters; the words that are complete, with the spaces in front of them."""
        self._rest += text
        border = max((match.start() for match in _BORDER.finditer(self._rest)), default=0)
        ready, self._rest = self._rest[:border], self._rest[border:]
        return ready

    def flush(self) -> str:
        """The stream has ended: what is left."""
        ready, self._rest = self._rest, ""
        return ready
