"""The text tokenizer over a small BPE vocabulary that is trained here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE

from speech.errors import SpeechError
from speech.tts.tokens import SPECIAL, WORDS, TextTokenizer

TEXT = ["The quick brown fox jumps over the lazy dog.", "It's 1984 and they've the time of day, naïve as ever.\n"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vocab.json and merges.txt, as in CosyVoice-BlankEN."""
    model = Tokenizer(BPE())
    words = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator(TEXT * 3, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet))
    path = tmp_path_factory.mktemp("bpe")
    model.model.save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> TextTokenizer:
    return TextTokenizer.load(folder)


def test_there_and_back(tokenizer: TextTokenizer) -> None:
    for text in [*TEXT, "", " ", "emoji 🎉 and 汉字", "tabs\tand\r\nlines \n"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("the the the")) < len("the the the")


def test_composed_and_decomposed_letters_are_one(tokenizer: TextTokenizer) -> None:
    assert tokenizer.encode("nai\u0308ve") == tokenizer.encode("na\u00efve")


def test_digits_stand_alone(tokenizer: TextTokenizer) -> None:
    assert len(tokenizer.encode("1984")) == 4


@pytest.mark.parametrize("version", [2, 3])
def test_special_tokens_follow_the_vocabulary_in_order(folder: Path, version: int) -> None:
    tokenizer = TextTokenizer.load(folder, version)  # type: ignore[arg-type]
    size = len(json.loads((folder / "vocab.json").read_text()))
    assert [tokenizer.id(token) for token in SPECIAL[version]] == [*range(size, size + len(SPECIAL[version]))]
    assert len(tokenizer) == size + len(SPECIAL[version]) and len(set(SPECIAL[version])) == len(SPECIAL[version])
    assert tokenizer.id("<|endofprompt|>") == size + 3  # 151646 in the public model
    ids = tokenizer.encode("Be kind.<|endofprompt|>the[breath]")
    assert ids[-1] == size + 4 and ids.count(size + 3) == 1
    assert tokenizer.decode(ids) == "Be kind.<|endofprompt|>the[breath]"


def test_pieces_cut_at_words_give_the_same_ids(tokenizer: TextTokenizer) -> None:
    pieces = ["The quick", " brown fox", " jumps", " over the lazy dog", "."]
    assert [id for piece in pieces for id in tokenizer.encode(piece)] == tokenizer.encode("".join(pieces))


def test_a_whole_tokenizer_file_is_read(folder: Path, tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer._model.save(str(tmp_path / "tokenizer.json"))
    again = TextTokenizer.load(tmp_path)
    assert len(again) == len(tokenizer)
    assert again.encode("The fox<|endofprompt|>") == tokenizer.encode("The fox<|endofprompt|>")


def test_missing_and_broken_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="found neither"):
        TextTokenizer.load(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_bytes((folder / "merges.txt").read_bytes())
    with pytest.raises(SpeechError, match="cannot be read"):
        TextTokenizer.load(tmp_path)
