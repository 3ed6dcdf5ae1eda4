"""What a language model reads: pieces of text as ids, and which of the ids are which word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from speech.tts.aligned import Aligned
from speech.tts.joint import Interleaved
from speech.tts.layout import Script, Utterance, Vocabulary
from speech.tts.text import clean
from speech.tts.text.frontend import Piece
from speech.tts.text.inventory import BORDER, ids
from speech.tts.text.phonemes import Phonemiser
from speech.tts.tokens import TextTokenizer


@dataclass(frozen=True)
class WordSpan:
    """A word and its ids, first .. last - 1, of those of the stream."""

    text: str
    first: int
    last: int


@dataclass(frozen=True)
class Reading:
    """A piece as ids. words: where they are told apart."""

    ids: list[int]
    words: list[WordSpan]


class Reader(Protocol):
    """Text to ids. longest: ids of one sequence, at the most."""

    longest: int

    def script(self, prompt: Utterance) -> Script:
        """A new sequence, in which the ids share their place with the codes."""
        ...

    def read(self, piece: Piece, before: int) -> Reading:
        """The ids of a piece, of which `before` have come in this sequence."""
        ...

    def foreign(self, piece: Piece) -> str:
        """The letters of a piece that the model cannot say, "" if there are none."""
        ...

    def example(self, text: str) -> list[int]:
        """The ids of what is said in a voice's prompt."""
        ...


class PairReader:
    """Byte pairs of the normalised text, in blocks of 5 text ids and 15 codes (CosyVoice 2). Any script is read.

    instruction: text that begins every sequence and is not spoken.
    """

    longest = 300

    def __init__(self, tokenizer: TextTokenizer, vocabulary: Vocabulary, instruction: str = "") -> None:
        self.tokenizer, self.layout = tokenizer, Interleaved(vocabulary)
        self._instruction = tokenizer.encode(instruction)

    def script(self, prompt: Utterance) -> Script:
        return self.layout.script(prompt, self._instruction)

    def read(self, piece: Piece, before: int) -> Reading:
        return Reading(self.tokenizer.encode(" " * bool(before) + piece.spoken), [])

    def foreign(self, piece: Piece) -> str:
        return ""

    def example(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)


class PhonemeReader:
    """Phonemes beside the codes (`tts.aligned`): the times of words are known."""

    longest = 240

    def __init__(self, phonemiser: Phonemiser, vocabulary: Vocabulary) -> None:
        self.phonemiser, self.layout = phonemiser, Aligned(vocabulary)

    def script(self, prompt: Utterance) -> Script:
        return self.layout.script(prompt)

    def read(self, piece: Piece, before: int) -> Reading:
        symbols: list[str] = []
        spans = []
        words = piece.words(self.phonemiser)
        for i, word in enumerate(words):
            first = before + len(symbols)
            symbols += word.phonemes
            spans.append(WordSpan(word.text, first, before + len(symbols)))
            symbols.append(word.pause or (BORDER if i + 1 < len(words) else "."))
        return Reading(ids(symbols), spans)

    def foreign(self, piece: Piece) -> str:
        return "".join(clean.foreign(piece.written).values())

    def example(self, text: str) -> list[int]:
        return []
