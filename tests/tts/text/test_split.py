# ruff: noqa: RUF001
from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.tts.text.split import USUAL, SplitConfig, Splitter

EACH = SplitConfig(minimum=1, first=None)
WORDS = st.sampled_from(
    'Hello world, Dr. Smith U.S. e.g. 3.14 (etc.) "Stop!" No. 5 Then 你好。 ... - — a.m. He it; \n \n\n ?! 1. J. '
    "reallyquitealongwordthatgoeson".split(" ")
)
TEXTS = st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=60)


def split(text: str, config: SplitConfig = USUAL) -> list[str]:
    """The sentences of a whole text."""
    splitter = Splitter(config)
    return splitter.push(text) + splitter.flush()


@pytest.mark.parametrize(
    "text",
    [
        "Hello there.|How are you?|Fine!",
        "It is 3.14, says Dr. Smith of the U.S. Army, e.g. here.|Then more.",
        'He lives on Main St.|He left.|"Stop!" he said.|OK... fine.',
        "J. K. Rowling wrote No. 5 at 9 p.m. today.|No.|I did not.",
        "I live in the U.S.|It is big.",
        "Mr. Smith Jr. vs. Prof. Jones et al. is on.|See Fig. 3.",
        "1. First thing.|2. Second thing.",
        "Wait!!!|What?!|Yes.",
        "Visit example.com/a?b=c today.|Now.",
    ],
)
def test_sentences(text: str) -> None:
    assert split(text.replace("|", " "), EACH) == text.split("|")


def test_blank_lines_lists_and_chinese_end_sentences() -> None:
    assert split("Title\n\ntext\nwraps\n- one\n- two", EACH) == ["Title", "text wraps", "- one", "- two"]
    assert split("你好。我很好！“是吗？”他说", EACH)[:2] == ["你好。", "我很好！"]


def test_short_sentences_are_joined_and_long_ones_cut_at_clauses() -> None:
    assert split("Yes. No. I am quite sure of it.", SplitConfig(first=None)) == ["Yes. No. I am quite sure of it."]
    clauses = "one two three, four five six, seven eight nine, ten"
    assert split(clauses, SplitConfig(5, 20, 40, None)) == ["one two three, four five six,", "seven eight nine, ten"]
    assert split(clauses, SplitConfig(5, 40, 40, None)) == ["one two three, four five six,", "seven eight nine, ten"]


def test_only_punctuation_is_dropped() -> None:
    assert split("?! ... -- \n\n *** ", EACH) == []
    assert split("") == []


def test_the_first_piece_comes_early() -> None:
    splitter = Splitter(SplitConfig(first=10))
    assert splitter.push("Well then, ") == []
    assert splitter.push("my") == ["Well then,"]
    assert splitter.push(" friend, and so") == []
    assert Splitter().push("Yes. ") == ["Yes."]


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(0, 1000), st.sampled_from([SplitConfig(), SplitConfig(4, 12, 24, 6), EACH]))
def test_a_stream_gives_what_the_whole_text_gives(text: str, seed: int, config: SplitConfig) -> None:
    chance, splitter, pieces, at = random.Random(seed), Splitter(config), [], 0
    while at < len(text):
        end = at + chance.choice([1, 1, 2, 3, 7, 30])
        pieces += splitter.push(text[at:end])
        at = end
    pieces += splitter.flush()
    assert pieces == split(text, config)
    assert all(len(piece) <= config.maximum for piece in pieces)
    kept = "".join("".join(pieces).split())
    assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]


def test_a_new_line_that_begins_with_a_number_is_no_list() -> None:
    splitter = Splitter(SplitConfig(first=None))
    pieces = splitter.push("The value of the constant is\n3") + splitter.push(".14 or so") + splitter.flush()
    assert pieces == split("The value of the constant is\n3.14 or so") == ["The value of the constant is 3.14 or so"]


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS.filter(lambda word: len(word) < 20 and word.isascii()), min_size=1, max_size=25).map(" ".join))
def test_no_word_is_broken(text: str) -> None:
    assert set(" ".join(split(text, SplitConfig(4, 12, 24, 6))).split()) <= set(text.split())


def test_a_hundred_kilobytes_without_punctuation_are_cut_at_words() -> None:
    start = time.perf_counter()
    pieces = split("word " * 20_000)
    assert all(len(piece) <= 280 and set(piece.split()) == {"word"} for piece in pieces)
    assert sum(len(piece.split()) for piece in pieces) == 20_000
    assert "".join(split("w" * 100_000)) == "w" * 100_000
    assert split(" " * 100_000) == []
    assert time.perf_counter() - start < 10


def test_a_cut_ends_a_piece_and_impossible_lengths_are_refused() -> None:
    splitter = Splitter()
    assert splitter.push("half a") == [] and splitter.cut() == ["half a"] and splitter.flush() == []
    with pytest.raises(SpeechError, match="minimum"):
        SplitConfig(minimum=50, target=20)
