from __future__ import annotations

from pathlib import Path

import pytest

from speech.asr.tokenizer import SentencePiece, Tokenizer, WordPiece
from speech.errors import SpeechError

PIECES = ["[UNK]", "the", "cat", "##s", "s", "##at", "don", "##'t", "ü"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return path


def test_sentencepiece_writes_back_what_it_reads(tokenizer: SentencePiece) -> None:
    text = "the rat sat on ten red mats"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert sum(tokenizer.starts_word(i) for i in ids) == len(text.split())
    assert len(tokenizer) == len(tokenizer.pieces) == 40
    assert "".join(tokenizer.pieces[i] for i in ids) == "▁" + text.replace(" ", "▁")


def test_wordpiece_takes_the_longest_piece_and_knows_where_words_begin(vocabulary: Path) -> None:
    tokenizer = WordPiece(vocabulary)
    ids = tokenizer.encode("the  cats sat don't ü\n")
    assert [tokenizer.pieces[i] for i in ids] == ["the", "cat", "##s", "s", "##at", "don", "##'t", "ü"]
    assert [tokenizer.starts_word(i) for i in ids] == [True, True, False, True, False, True, False, True]
    assert tokenizer.decode(ids) == "the cats sat don't ü"
    assert tokenizer.decode(ids[2:4]) == "s s"
    assert tokenizer.decode([]) == ""
    assert tokenizer.encode("dog the") == [0, 1]


def test_a_folder_or_a_file_says_which_kind_it_is(sentencepiece_file: Path, vocabulary: Path) -> None:
    assert isinstance(Tokenizer.load(sentencepiece_file), SentencePiece)
    assert isinstance(Tokenizer.load(sentencepiece_file.parent), SentencePiece)
    assert isinstance(Tokenizer.load(vocabulary), WordPiece)
    assert isinstance(Tokenizer.load(str(vocabulary.parent)), WordPiece)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("tokenizer.model", b"", "SentencePiece"),
        ("tokenizer.model", b"not a model at all", "SentencePiece"),
        ("vocab.txt", b"", "one piece a line"),
        ("vocab.txt", b"a\nb\na\n", "one piece a line"),
        ("vocab.txt", b"a\n\nb\n", "one piece a line"),
        ("vocab.txt", b"\xff\xfe\x00a", "UTF-8"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpeechError, match=says):
        Tokenizer.load(tmp_path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="found neither"):
        Tokenizer.load(tmp_path)
    with pytest.raises(SpeechError, match="does not exist"):
        Tokenizer.load(tmp_path / "tokenizer.model")


def test_a_vocabulary_without_unknown_refuses_what_it_cannot_spell(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\n##b\n")
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode("ab a") == [0, 1, 0]
    with pytest.raises(SpeechError, match="'ac'"):
        tokenizer.encode("ab ac")
