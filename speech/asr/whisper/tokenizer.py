"""Whisper's vocabulary: byte pairs of text, and the symbols by which the decoder is told language and task."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer as Library
from tokenizers import decoders, pre_tokenizers
from tokenizers.models import BPE

from speech.asr.tokenizer import Tokenizer
from speech.errors import SpeechError

LANGUAGES = tuple(
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue".split()
)
"""Codes of the languages in the order of their ids; "yue" from large-v3 on."""

AUTO = "auto"
"""In place of a language: it is to be found out."""

UNKNOWN = -1
"""Stands for the id of the language in the beginning of a text while it is to be found out; it is never fed."""

TIMES = 1501
"""Time symbols: 0.00 to 30.00 s in steps of 20 ms."""

END = "<|endoftext|>"


@dataclass(frozen=True)
class Symbols:
    """Ids of what is no text, in this order: end, start, languages, tasks, others, times. They hang on its size alone.

    Raises SpeechError for a size that no Whisper has.
    """

    vocabulary: int

    def __post_init__(self) -> None:
        if self.vocabulary not in (51864, 51865, 51866):
            raise SpeechError(
                f"expected the vocabulary of a Whisper, 51864 (English), 51865 or 51866 ids, got {self.vocabulary}"
            )

    @property
    def multilingual(self) -> bool:
        """Whether the model knows languages and tasks."""
        return self.vocabulary > 51864

    @property
    def end(self) -> int:
        """The end of the text; smaller ids are text."""
        return 50256 + self.multilingual

    @property
    def start(self) -> int:
        """The start of a transcript."""
        return self.end + 1

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that have an id."""
        return LANGUAGES[: self.vocabulary - TIMES - 50264 - self.multilingual]

    @property
    def translate(self) -> int:
        """The task to translate into English; the other symbols follow it."""
        return self.start + 1 + len(self.languages)

    @property
    def transcribe(self) -> int:
        """The task to write what is said in its own language."""
        return self.translate + 1

    @property
    def start_of_lm(self) -> int:
        """A symbol that no public model uses; causal Whispers fill up with it."""
        return self.translate + 2

    @property
    def start_of_previous(self) -> int:
        """The start of text that came before, a prompt."""
        return self.translate + 3

    @property
    def no_speech(self) -> int:
        """Nobody speaks."""
        return self.translate + 4

    @property
    def no_timestamps(self) -> int:
        """The text comes without time symbols."""
        return self.translate + 5

    @property
    def times(self) -> int:
        """The first time symbol, 0.00 s."""
        return self.translate + 6

    def language(self, code: str) -> int:
        """The id of a language, `UNKNOWN` for `AUTO`. Raises SpeechError for one that the model does not know."""
        if self.multilingual and code == AUTO:
            return UNKNOWN
        if not self.multilingual or code not in self.languages:
            known = f"one of {', '.join((*self.languages, AUTO))}" if self.multilingual else "en, which needs no symbol"
            raise SpeechError(f"expected the code of a language that this model knows, got {code!r}: choose {known}")
        return self.start + 1 + self.languages.index(code)

    def prompt(
        self, language: str = "en", task: Literal["transcribe", "translate"] = "transcribe", times: bool = False
    ) -> list[int]:
        """The ids with which every transcript begins. language: a code, or `AUTO` of a multilingual model.

        Raises SpeechError for a language or a task that the model does not know.
        """
        rest = [] if times else [self.no_timestamps]
        if not self.multilingual:
            if (language, task) != ("en", "transcribe"):
                raise SpeechError(
                    f"expected English to be transcribed by an English model, got language {language!r} and task "
                    f"{task!r}: take a multilingual model"
                )
            return [self.start, *rest]
        if task not in ("transcribe", "translate"):
            raise SpeechError(f"expected the task transcribe or translate, got {task!r}: choose one of these")
        return [self.start, self.language(language), self.translate if task == "translate" else self.transcribe, *rest]


class WhisperTokenizer(Tokenizer):
    """Text to ids and back. Symbols have no text: `decode` leaves them out."""

    def __init__(self, library: Library, symbols: Symbols) -> None:
        self._library, self.symbols = library, symbols
        back = {char: byte for byte, char in enumerate(_chars())}
        tokens = [token for i in range(symbols.end) if (token := library.id_to_token(i)) is not None]
        if len(tokens) < symbols.end or library.id_to_token(symbols.end) not in (None, END):
            kind = "a multilingual" if symbols.multilingual else "the English"
            raise SpeechError(
                f"expected {kind} vocabulary of {symbols.end} tokens, got another: take the one of this very model"
            )
        self._bytes = [bytes(back[char] for char in token) for token in tokens]
        self.pieces = [piece.decode("utf-8", "replace") for piece in self._bytes]

    @classmethod
    def load(cls, path: str | Path, symbols: Symbols) -> WhisperTokenizer:  # type: ignore[override]
        """Read `tokenizer.json`, `vocab.json` and `merges.txt`, or a `.tiktoken` file, or a folder that holds them.

        Raises SpeechError when there is none, it cannot be read or belongs to another model.
        """
        path = Path(path)
        ranks = "multilingual.tiktoken" if symbols.multilingual else "gpt2.tiktoken"
        if path.is_dir():
            names = ("tokenizer.json", "vocab.json", ranks)
            path = next((path / name for name in names if (path / name).is_file()), path)
        if not path.is_file():
            raise SpeechError(
                f"expected tokenizer.json, vocab.json with merges.txt, or {ranks} in {path}, found none: a .pt file "
                f"has no vocabulary in it, so put there {ranks} from the assets of the Python package openai-whisper, "
                "or tokenizer.json from the Hugging Face folder of the same model"
            )
        try:
            library = _read(path)
        except Exception as error:  # the library raises no narrower type
            raise SpeechError(
                f"expected a vocabulary of Whisper in {path}, it cannot be read: fetch it again"
            ) from error
        return cls(library, symbols)

    def to_json(self) -> str:
        """The content of a `tokenizer.json` that `load` reads back, whatever files this one was read from."""
        return self._library.to_str()

    def encode(self, text: str) -> list[int]:
        return self._library.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self._bytes[i] for i in ids if i < self.symbols.end).decode("utf-8", "replace")

    def starts_word(self, token: int) -> bool:
        return token < self.symbols.end and self._bytes[token].startswith(b" ")


def _read(path: Path) -> Library:
    if path.name == "vocab.json":
        return _byte_level(BPE.from_file(str(path), str(path.with_name("merges.txt"))))
    if path.suffix != ".tiktoken":
        return Library.from_file(str(path))
    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    ranks = {_base64(token): int(rank) for token, rank in lines}
    chars = _chars()

    def written(token: bytes) -> str:
        return "".join(chars[byte] for byte in token)

    vocabulary = {written(token): rank for token, rank in ranks.items()}
    merges = [_halves(token, ranks) for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1]
    return _byte_level(BPE(vocabulary, [(written(a), written(b)) for a, b in merges]))


def _byte_level(model: BPE) -> Library:
    """GPT-2's way from text to words to bytes (Radford et al. 2019) to these tokens."""
    library = Library(model)
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    return library


def _base64(token: bytes) -> bytes:
    """The bytes of a token; the one that no text has is written as "=" alone."""
    try:
        return base64.b64decode(token, validate=True)
    except binascii.Error:
        if token == b"=":
            return b""
        raise


def _halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that are merged to `token`: what merging by rank leaves before the merge that has its own rank."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
        i = pairs.index(min(pairs))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0], parts[1]


def _chars() -> list[str]:
    """GPT-2's printable character for each byte: itself, or for bytes that do not print one from 256 on."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (chr(256 + n) for n in range(256 - len(prints)))
    shown = set(prints)
    return [chr(byte) if byte in shown else next(others) for byte in range(256)]
