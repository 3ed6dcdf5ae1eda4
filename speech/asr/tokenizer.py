"""Text to tokens and back: SentencePiece and WordPiece vocabularies behind one small class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from speech.errors import SpeechError


class Tokenizer(ABC):
    """A vocabulary. `pieces`: the written form of every token, by id."""

    pieces: list[str]

    def __len__(self) -> int:
        """Number of tokens, without the blank."""
        return len(self.pieces)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Text to token ids."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Token ids to text."""

    @abstractmethod
    def starts_word(self, token: int) -> bool:
        """Whether the token begins a new word; the others continue the word before them."""

    @staticmethod
    def load(path: str | Path) -> Tokenizer:
        """Read a vocabulary: `tokenizer.model` (SentencePiece), `vocab.txt` (WordPiece) or a folder that holds one.

        Raises SpeechError when there is none or it cannot be read.
        """
        path = Path(path)
        if path.is_dir():
            files = [path / name for name in ("tokenizer.model", "vocab.txt") if (path / name).is_file()]
            if not files:
                raise SpeechError(
                    f"expected tokenizer.model or vocab.txt in {path}, found neither: import the model again"
                )
            path = files[0]
        if not path.is_file():
            raise SpeechError(f"expected a tokenizer file, but {path} does not exist: check the path")
        return WordPiece(path) if path.suffix == ".txt" else SentencePiece(path)


class SentencePiece(Tokenizer):
    """A SentencePiece model (Kudo and Richardson 2018, arXiv 1808.06226); a piece that begins with ▁ begins a word."""

    def __init__(self, path: str | Path) -> None:
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=Path(path).read_bytes())
        except (RuntimeError, OSError) as error:
            raise SpeechError(
                f"expected a SentencePiece model in {path}, it cannot be read: fetch the file again"
            ) from error
        self.pieces = [self._model.id_to_piece(i) for i in range(len(self._model))]
        if not self.pieces:
            raise SpeechError(f"expected a SentencePiece model in {path}, it holds no pieces: fetch the file again")

    def encode(self, text: str) -> list[int]:
        return self._model.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._model.decode(list(ids))

    def starts_word(self, token: int) -> bool:
        return self.pieces[token].startswith("▁")


class WordPiece(Tokenizer):
    """A WordPiece vocabulary, one piece a line (Schuster and Nakajima 2012); ## in front continues a word."""

    UNKNOWN = "[UNK]"

    def __init__(self, path: str | Path) -> None:
        try:
            self.pieces = Path(path).read_text(encoding="utf-8").split("\n")
        except (UnicodeDecodeError, OSError) as error:
            raise SpeechError(
                f"expected a UTF-8 list of pieces in {path}, it cannot be read: fetch the file again"
            ) from error
        self.pieces = [piece.rstrip("\r") for piece in self.pieces]
        if self.pieces[-1] == "":  # the last line's end
            self.pieces.pop()
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        if not self.pieces or "" in self._ids or len(self._ids) < len(self.pieces):
            raise SpeechError(
                f"expected one piece a line, each once, in {path}, found empty or doubled lines: fetch it again"
            )

    def encode(self, text: str) -> list[int]:
        return [token for word in text.split() for token in self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        """The longest piece first, again and again; a word that does not come out even is unknown as a whole."""
        ids, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                if (token := self._ids.get(prefix + word[start:end])) is not None:
                    ids.append(token)
                    start = end
                    break
            else:
                if self.UNKNOWN not in self._ids:
                    raise SpeechError(f"expected text that the vocabulary spells, got {word!r}: leave the word out")
                return [self._ids[self.UNKNOWN]]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self.pieces[i] for i in ids).replace(" ##", "").removeprefix("##")

    def starts_word(self, token: int) -> bool:
        return not self.pieces[token].startswith("##")
