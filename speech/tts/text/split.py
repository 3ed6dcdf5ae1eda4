# ruff: noqa: RUF001
"""Text that arrives in arbitrary pieces to sentences, each as soon as it is certain.

A decision looks at whole words and at a bounded stretch behind them, never at how the text was cut: so a stream gives
the same sentences as the whole text. Words end at white space, or behind a full stop of Chinese or Japanese.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from speech.errors import SpeechError
from speech.tts.text.clean import speakable
from speech.tts.text.tables import ABBREVIATIONS, COUNTED, STARTERS, TITLES

INLINE = range(0xE000, 0xF900)
"""Private-use characters. Each stands for something that is spoken, which the splitter need not know."""

_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\s。！？；]*[。！？；]+[」』”’）)\"']*|[^\s。！？；]+")
_TERMINATED = re.compile(r"(?P<body>.*?)(?P<mark>[.!?。！？；]+)(?P<close>[\"')\]»”’」』）]*)", re.DOTALL)
_PAUSED = re.compile(r".*(?:[,;:—–][\"')\]]*|(?<=\w)--?)|[-–—]+", re.DOTALL)
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_OPENERS = "\"'([{“‘«「『"
_NEVER_LAST = frozenset({title.lower() for title in TITLES} | {"dr", "e.g", "i.e", "vs"})
_MAYBE_LAST = frozenset({*ABBREVIATIONS, "St", *(sign[:-1] for sign in COUNTED if sign.endswith("."))})
_LISTED = re.compile(r"[-–—*•]|\d{1,3}[.)](?!\S)")


class Border(IntEnum):
    """What a text may be cut at behind a word."""

    WORD = 0
    CLAUSE = 1
    SENTENCE = 2


@dataclass(frozen=True)
class SplitConfig:
    """Lengths of pieces in characters.

    minimum: a shorter sentence is joined to the next one. target: from here on a clause may end a piece. maximum: no
    piece is longer; it is cut at its last clause, else at a word border, and inside a word only if that is longer.
    first: from here on a clause may end the first piece of a stream, and the first sentence is never joined to the
    second, so that speech begins early; None treats the first piece like all others.
    """

    minimum: int = 20
    target: int = 160
    maximum: int = 280
    first: int | None = 30

    def __post_init__(self) -> None:
        if not 0 < self.minimum <= self.target <= self.maximum or (self.first is not None and self.first < 1):
            raise SpeechError(
                f"expected lengths with 0 < minimum <= target <= maximum and first > 0, got {self}: change them"
            )


USUAL = SplitConfig()


@dataclass
class _Piece:
    """The words of the piece that grows, each with the space in front of it; `cut`: words up to its last clause."""

    words: list[str] = field(default_factory=list)
    length: int = 0
    cut: int = 0

    def add(self, word: str) -> None:
        self.words.append(word)
        self.length += len(word)

    def take(self, words: int) -> str:
        """Remove the first words and return them as text."""
        text = "".join(self.words[:words])
        self.words = self.words[words:]
        self.length, self.cut = self.length - len(text), 0
        return text.strip()


class Splitter:
    """Sentences of one stream of text: `push` pieces of it, then `flush`. Pieces without a word in them are dropped."""

    def __init__(self, config: SplitConfig = SplitConfig()) -> None:
        self.config = config
        self._reset()

    def _reset(self) -> None:
        self._rest, self._piece, self._first = "", _Piece(), self.config.first is not None

    def push(self, text: str) -> list[str]:
        """Take in the next characters; the sentences that are certain now."""
        self._rest = _SPACE.sub(_gap, self._rest + text)
        return list(self._advance(final=False))

    def flush(self) -> list[str]:
        """The stream has ended: the sentences that are left. The splitter is then as new."""
        pieces = [*self._advance(final=True), *self._emit(len(self._piece.words))]
        self._reset()
        return pieces

    def cut(self) -> list[str]:
        """A piece ends here, whatever the text: as `flush`, but the stream goes on."""
        first = self._first
        pieces = self.flush()
        self._first = first and not pieces
        return pieces

    def _advance(self, final: bool) -> Iterator[str]:
        """Take words off the front of what is known, as long as what follows them cannot change anything."""
        text, at = self._rest, 0
        while True:
            space = _SPACE.match(text, at)
            start = space.end() if space else at
            word = _WORD.match(text, start, start + self.config.maximum + 1)
            if not word:
                if final:
                    at = len(text)
                break
            end = min(word.end(), start + self.config.maximum)
            if word.end() == len(text) and not final and end == word.end():
                break
            cut = end < word.end()
            border = Border.WORD if cut else self._border(word[0], text, end, final)
            if border is None:
                break
            yield from self._place((" " if space else "") + text[start:end], border)
            at = end
        self._rest = text[at:]

    def _border(self, word: str, text: str, end: int, final: bool) -> Border | None:
        """What kind of border follows a word; None while the text that would tell is not there yet."""
        space = _SPACE.match(text, end)
        start = space.end() if space else end
        after = _WORD.match(text, start, start + self.config.maximum + 1)
        ended = _TERMINATED.fullmatch(word)
        opening = not self._piece.words
        if ended and not _doubtful(ended, opening):
            return Border.SENTENCE
        if not after:
            return Border.SENTENCE if final else None
        if space and "\n\n" in space[0]:
            return Border.SENTENCE
        line = bool(space) and "\n" in space[0]
        if (line or ended) and after.end() == len(text) and not final and len(after[0]) <= self.config.maximum:
            return None
        if line and _LISTED.match(after[0]):
            return Border.SENTENCE
        if not ended:
            return Border.CLAUSE if _PAUSED.fullmatch(word) else Border.WORD
        return Border.SENTENCE if _begins(ended, after[0], opening) else Border.WORD

    def _place(self, word: str, border: Border) -> Iterator[str]:
        """Add a word to the piece; what is complete then, or would grow too long with it."""
        piece, config = self._piece, self.config
        while piece.words and piece.length + len(word) > config.maximum:
            yield from self._emit(piece.cut or len(piece.words))
        piece.add(word if piece.words else word.lstrip())
        if border == Border.WORD:
            return
        needed = config.minimum if border == Border.SENTENCE else config.target
        if self._first:
            needed = 1 if border == Border.SENTENCE else min(needed, config.first or needed)
        if piece.length >= needed:
            yield from self._emit(len(piece.words))
        else:
            piece.cut = len(piece.words)

    def _emit(self, words: int) -> Iterator[str]:
        text = self._piece.take(words)
        if speakable(text) or any(ord(c) in INLINE for c in text):
            self._first = False
            yield text


def _gap(match: re.Match[str]) -> str:
    """White space in short: a blank line, a line end or a space; the same whether a run comes whole or in parts."""
    return "\n\n"[: match[0].count("\n")] or " "


def _doubtful(ended: re.Match[str], opening: bool) -> bool:
    """Whether only the next word can tell if a terminated word ends a sentence: quotations, ellipses, abbreviations."""
    mark = ended["mark"]
    if mark[0] in "。！？；":
        return False
    body = _bare(ended)
    return bool(ended["close"]) or ".." in mark or _abbreviates(body, mark) or (opening and body.isdecimal())


def _begins(ended: re.Match[str], after: str, opening: bool) -> bool:
    """Whether a sentence begins with the word `after`, given that the one before it is doubtful."""
    body, mark = _bare(ended), ended["mark"]
    if opening and (body.isdecimal() or _initial(body)):  # "1. First" and "J. Smith" at the head of a piece
        return False
    after = after.lstrip(_OPENERS)
    if not _abbreviates(body, mark):
        return not after[:1].islower()
    return body.lower() not in _NEVER_LAST and re.sub(r"[^\w']+$", "", after) in STARTERS


def _abbreviates(body: str, mark: str) -> bool:
    return mark == "." and (
        _initial(body) or bool(_DOTTED.fullmatch(body)) or body.lower() in _NEVER_LAST or body in _MAYBE_LAST
    )


def _initial(body: str) -> bool:
    return len(body) < 2 and not (body and ord(body) in INLINE)


def _bare(ended: re.Match[str]) -> str:
    return ended["body"].lstrip(_OPENERS)
