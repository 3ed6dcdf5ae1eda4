"""A made-up vocabulary of the right size: all bytes, some words, and pairs of bytes to fill it up."""

from __future__ import annotations

import base64
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

from speech.asr.whisper.tokenizer import LANGUAGES, TIMES, Symbols, WhisperTokenizer
from speech.errors import SpeechError

MERGES = [b"th", b" t", b" th", b" the", b"ca", b"cat", b"the", b"\xc3\xa9", b"\xe4\xbd", b"\xe4\xbd\xa0"]
TEXTS = ["the cat", " the cat's 12 caté 你好, the!", "", "\n  t h e", "thethe cacat"]


def vocabulary(size: int) -> list[bytes]:
    """Tokens by id: 256 bytes, MERGES, pairs and triples to fill up; in a multilingual one an empty one at last."""
    tokens = [bytes([byte]) for byte in range(256)] + MERGES
    tokens += (pair for a in range(128, 256) for b in range(256) if (pair := bytes([b, a])) not in MERGES)
    tokens += (bytes([a, b, c]) for c in (126, 127) for a in range(128, 256) for b in range(128, 256))
    return [*tokens[:50256], *[b""][: size - 50256]]


def tiktoken(path: Path, tokens: list[bytes]) -> Path:
    lines = (f"{base64.b64encode(token).decode() or '='} {rank}" for rank, token in enumerate(tokens))
    path.write_text("\n".join(lines) + "\n")
    return path


def merged(text: str, ranks: dict[bytes, int]) -> list[int]:
    """Byte pairs merged by rank, words cut as GPT-2 cuts them: the definition, slowly."""
    ids = []
    for word in re.findall(r"'s| ?[^\W\d_]+| ?\d+| ?[^\s\w]+|\s+(?!\S)|\s+", text):
        parts = [bytes([byte]) for byte in word.encode()]
        while True:
            found = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
            if not found:
                break
            i = min(found)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids += [ranks[part] for part in parts]
    return ids


@pytest.fixture(scope="module")
def tokens() -> list[bytes]:
    return vocabulary(50257)


@pytest.fixture(scope="module")
def tokenizer(tokens: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> WhisperTokenizer:
    folder = tmp_path_factory.mktemp("whisper")
    tiktoken(folder / "multilingual.tiktoken", tokens)
    return WhisperTokenizer.load(folder, Symbols(51865))


@pytest.mark.parametrize("text", TEXTS)
def test_text_there_and_back(tokenizer: WhisperTokenizer, tokens: list[bytes], text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids == merged(text, {token: rank for rank, token in enumerate(tokens)})
    assert tokenizer.decode([50258, *ids, 50257, 50364]) == text


def test_words_and_broken_characters(tokenizer: WhisperTokenizer) -> None:
    the, you = tokenizer.encode(" the cat")[0], tokenizer.encode("你")[0]
    assert (tokenizer.pieces[the], tokenizer.starts_word(the)) == (" the", True)
    assert not tokenizer.starts_word(you) and not tokenizer.starts_word(50258)
    assert tokenizer.decode(tokenizer.encode("好")[:1]) == "\ufffd"
    assert len(tokenizer) == 50257


def test_files_of_hugging_face(tokenizer: WhisperTokenizer, tmp_path: Path) -> None:
    library = tokenizer._library
    library.save(str(tmp_path / "tokenizer.json"))
    assert WhisperTokenizer.load(tmp_path, Symbols(51865)).encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])
    tree = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(tree["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tree["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    assert WhisperTokenizer.load(tmp_path, Symbols(51865)).encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])
    assert set(pre_tokenizers.ByteLevel.alphabet()) == {library.id_to_token(i) for i in range(256)}


def test_vocabularies_of_other_models(tokens: list[bytes], tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"put there multilingual\.tiktoken from the assets"):
        WhisperTokenizer.load(tmp_path, Symbols(51865))
    path = tiktoken(tmp_path / "gpt2.tiktoken", vocabulary(50256))
    assert WhisperTokenizer.load(tmp_path, Symbols(51864)).encode(" the") == [259]
    with pytest.raises(SpeechError, match="a multilingual vocabulary of 50257 tokens"):
        WhisperTokenizer.load(path, Symbols(51865))
    with pytest.raises(SpeechError, match="the English vocabulary of 50256 tokens"):
        WhisperTokenizer.load(tiktoken(path, tokens), Symbols(51864))
    path.write_text("no vocabulary\n")
    with pytest.raises(SpeechError, match="cannot be read"):
        WhisperTokenizer.load(path, Symbols(51864))


@pytest.mark.parametrize(
    ("size", "prompt", "times"),
    [
        (51864, [50257, 50362], 50363),
        (51865, [50258, 50259, 50359, 50363], 50364),
        (51866, [50258, 50259, 50360, 50364], 50365),
    ],
)
def test_symbols(size: int, prompt: list[int], times: int) -> None:
    """As the public models have them."""
    symbols = Symbols(size)
    assert symbols.prompt("en") == prompt and symbols.prompt("en", times=True) == prompt[:-1]
    assert (symbols.times, symbols.times + TIMES) == (times, size)
    others = [symbols.translate, symbols.transcribe, symbols.start_of_lm, symbols.start_of_previous, symbols.no_speech]
    assert [*others, symbols.no_timestamps, symbols.times] == list(range(times - 6, times + 1))


def test_languages_and_tasks() -> None:
    old, new, english = Symbols(51865), Symbols(51866), Symbols(51864)
    assert len(set(LANGUAGES)) == 100 and old.languages == LANGUAGES[:99]
    assert (old.language("de"), new.language("yue")) == (50261, 50358)
    assert old.prompt("de", "translate") == [50258, 50261, 50358, 50363]
    for call in (lambda: old.language("yue"), lambda: english.language("en"), lambda: old.prompt("tlh")):
        with pytest.raises(SpeechError, match="a language that this model knows"):
            call()
    with pytest.raises(SpeechError, match="task transcribe or translate"):
        old.prompt("de", "sing")  # type: ignore[arg-type]
    with pytest.raises(SpeechError, match="take a multilingual model"):
        english.prompt("de")
    with pytest.raises(SpeechError, match="vocabulary of a Whisper"):
        Symbols(1024)
