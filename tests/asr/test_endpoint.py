from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.asr.endpoint import EndpointConfig, Endpointer
from speech.asr.greedy import Token
from speech.asr.tokenizer import SentencePiece

FRAME = 0.08
CONFIG = EndpointConfig(silence=0.8, longest=4.0, voice_silence=0.4, settle=0.16)


def endpointer(tokenizer: SentencePiece) -> Endpointer:
    return Endpointer(CONFIG, tokenizer, FRAME)


@pytest.fixture
def begin(tokenizer: SentencePiece) -> int:
    return tokenizer.pieces.index("▁the")


@pytest.fixture
def inside(tokenizer: SentencePiece) -> int:
    return next(i for i, piece in enumerate(tokenizer.pieces) if piece.isalpha())


def frames(tokens: list[Token]) -> list[int]:
    return [token.frame for token in tokens]


def test_silence_ends_an_utterance_on_its_tenth_frame(tokenizer: SentencePiece, begin: int) -> None:
    e = endpointer(tokenizer)
    assert e.advance([Token(begin, 5, 0.0)], 15) == []
    assert [frames(u) for u in e.advance([], 16)] == [[5]]
    assert e.running == [] and e.advance([], 900) == []


def test_a_pause_inside_a_long_step_ends_it_too(tokenizer: SentencePiece, begin: int) -> None:
    e = endpointer(tokenizer)
    ended = e.advance([Token(begin, 2, 0.0), Token(begin, 12, 0.0), Token(begin, 23, 0.0)], 24)
    assert [frames(u) for u in ended] == [[2, 12]]
    assert frames(e.running) == [23]


def test_an_overlong_utterance_ends_at_a_word(tokenizer: SentencePiece, begin: int, inside: int) -> None:
    e = endpointer(tokenizer)
    tokens = [Token(begin if t % 9 == 0 else inside, t, 0.0) for t in range(0, 120, 3)]
    ended = e.advance(tokens, 120)
    assert [u[0].frame for u in ended] == [0, 54]
    for utterance in [*ended, e.running]:
        assert utterance[0].id == begin
    assert [t for u in [*ended, e.running] for t in frames(u)] == list(range(0, 120, 3))


def test_missing_voice_ends_an_utterance_sooner_but_not_before_its_tokens_settle(
    tokenizer: SentencePiece, begin: int
) -> None:
    quiet = [(0.64, float("inf"))]  # 0.4 s later is the start of frame 13
    e = endpointer(tokenizer)
    assert e.advance([Token(begin, 8, 0.0)], 12, quiet) == []
    assert [frames(u) for u in e.advance([], 13, quiet)] == [[8]]
    assert e.advance([Token(begin, 20, 0.0)], 22, quiet) == []
    assert [frames(u) for u in e.advance([], 23, quiet)] == [[20]]


def test_a_short_silence_of_the_voice_ends_nothing(tokenizer: SentencePiece, begin: int) -> None:
    e = endpointer(tokenizer)
    assert e.advance([Token(begin, 8, 0.0), Token(begin, 17, 0.0)], 18, [(0.64, 1.0)]) == []


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_chunking_changes_no_endpoint(tokenizer: SentencePiece, data: st.DataObject) -> None:
    at = sorted(data.draw(st.lists(st.integers(0, 150), max_size=30)))
    tokens = [Token(data.draw(st.integers(1, 39)), t, 0.0) for t in at]
    edges = sorted(data.draw(st.lists(st.integers(0, 150), max_size=6, unique=True)))
    silences = [(a * FRAME, b * FRAME) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    whole = endpointer(tokenizer)
    expected = [*whole.advance(tokens, 160, silences), whole.running]
    chunked, ended, now = endpointer(tokenizer), [], 0
    while now < 160:
        step = min(data.draw(st.integers(1, 30)), 160 - now)
        ended += chunked.advance([t for t in tokens if now <= t.frame < now + step], now + step, silences)
        now += step
    assert [*ended, chunked.running] == expected
