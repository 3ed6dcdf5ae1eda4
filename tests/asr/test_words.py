from __future__ import annotations

import math

import pytest

from speech.asr.events import Word
from speech.asr.greedy import Token
from speech.asr.tokenizer import SentencePiece
from speech.asr.words import Words, confidence


def tokens_of(tokenizer: SentencePiece, text: str, frames: list[int], logprob: float = -0.1) -> list[Token]:
    return [Token(i, frame, logprob) for i, frame in zip(tokenizer.encode(text), frames, strict=True)]


def test_words_have_the_times_of_their_frames_and_the_mean_of_their_tokens(tokenizer: SentencePiece) -> None:
    ids = tokenizer.encode("the red toast")
    starts = [k for k, i in enumerate(ids) if tokenizer.starts_word(i)]
    tokens = [Token(i, 10 * k + 5, -0.1 * (k + 1)) for k, i in enumerate(ids)]
    words = Words(tokenizer, 0.08).words(tokens)
    assert [word.text for word in words] == ["the", "red", "toast"]
    ends = [*starts[1:], len(ids)]
    for word, first, end in zip(words, starts, ends, strict=True):
        assert word.start == pytest.approx(0.08 * (10 * first + 5))
        assert word.end == pytest.approx(0.08 * (10 * (end - 1) + 6))
        own = [-0.1 * (k + 1) for k in range(first, end)]
        assert word.confidence == pytest.approx(math.exp(sum(own) / len(own)))


def test_no_time_is_after_the_end_of_the_stream(tokenizer: SentencePiece) -> None:
    ids = tokenizer.encode("the")
    for limit, end in ((0.97, 0.97), (0.9745625, 0.974), (0.9749375, 0.974), (2.2, 1.04)):
        word = Words(tokenizer, 0.08).words([Token(i, 12, 0.0) for i in ids], limit=limit)[0]
        assert (word.start, word.end) == (0.96, end)


def test_a_first_token_inside_a_word_begins_one_and_empty_words_vanish(tokenizer: SentencePiece) -> None:
    inside = next(i for i, piece in enumerate(tokenizer.pieces) if piece.isalpha())
    space = tokenizer.pieces.index("▁")
    words = Words(tokenizer, 0.08)
    assert [w.text for w in words.words([Token(inside, 0, 0.0), Token(space, 1, 0.0)])] == [tokenizer.pieces[inside]]
    assert words.words([]) == []
    assert words.segment([Token(space, 1, 0.0)]) is None


def test_a_segment_spans_its_words(tokenizer: SentencePiece) -> None:
    ids = tokenizer.encode("ten men")
    tokens = [Token(i, 3 * k, -0.5) for k, i in enumerate(ids)]
    segment = Words(tokenizer, 0.08).segment(tokens)
    assert segment is not None and segment.text == "ten men"
    assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    assert segment.confidence == pytest.approx(confidence([t.logprob for t in tokens])) == pytest.approx(math.exp(-0.5))
    assert all(isinstance(word, Word) for word in segment.words)
