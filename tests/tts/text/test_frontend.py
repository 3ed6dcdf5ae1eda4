# ruff: noqa: RUF001
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.tts.text.frontend import FrontEnd, Piece, pieces
from speech.tts.text.normalise import Reading
from speech.tts.text.phonemes import phonemiser
from speech.tts.text.split import SplitConfig

MARKED = (
    'Hi Dr. Smith, <phoneme ph="kæt">cat</phoneme>, costs $3.50. <break time="1s"/>Then <prosody rate="slow">on 5/6 we '
    'rest.</prosody> <say-as interpret-as="digits">12</say-as> &amp; <sub alias="the web">WWW</sub>, etc. <break/>Bye'
)
PARTS = st.sampled_from(
    [
        *(MARKED[:60], '<sub alias="a b">c</sub>.', "<break/>", "<"),
        *("Hello. ", "3.", "14 ", "U.S. ", "He ", "\n\n", "e\u0301", "\u200b", "\ue001", "😀"),
    ]
)


def test_a_marked_up_text() -> None:
    found = pieces(MARKED, SplitConfig(first=None))
    assert [(p.spoken, p.rate, p.pause) for p in found] == [
        ("Hi doctor Smith, cat, costs three dollars and fifty cents.", 1.0, 0.0),
        ("", 1.0, 1.0),
        ("Then", 1.0, 0.0),
        ("on May sixth we rest.", 0.75, 0.0),
        ("one two and the web, et cetera.", 1.0, 0.4),
        ("Bye", 1.0, 0.0),
    ]
    assert found[0].written == "Hi Dr. Smith, cat, costs $3.50."
    assert found[4].written == "12 & WWW, etc."


def test_words_of_a_piece_keep_given_pronunciations() -> None:
    words = pieces('A <phoneme ph="ˈtɔmɑtoʊ">tomato</phoneme>, please.')[0].words(phonemiser())
    assert [(word.text, word.pause) for word in words] == [("A", ""), ("tomato", ","), ("please", ".")]
    assert words[1].phonemes == ("T", "AO1", "M", "AA0", "T", "OW0")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ('<say-as interpret-as="characters">abc</say-as>', ["A B C"]),
        ('<phoneme ph="təˈmeɪtoʊ">tomato</phoneme>', ["tomato"]),
        ('It is late. <sub alias="Good night">GN</sub>!', ["It is late.", "Good night!"]),
        ('It is <sub alias="ten">X</sub>. <sub alias="Good night">GN</sub>.', ["It is ten.", "Good night."]),
    ],
)
def test_markup_alone_makes_a_sentence(text: str, spoken: list[str]) -> None:
    assert [piece.spoken for piece in pieces(text)] == spoken


def test_nothing_to_say_gives_no_pieces() -> None:
    assert pieces("") == pieces(" ?! ... ") == pieces("😀 \u200b") == []
    assert pieces("<sub alias=''>x</sub>") == []


def test_without_markup_tags_are_text() -> None:
    front_end = FrontEnd(markup=False)
    assert [p.written for p in front_end.push("a <break/> b") + front_end.flush()] == ["a <break/> b"]
    assert front_end.warnings == []


def test_warnings_are_collected_and_the_front_end_can_be_used_again() -> None:
    front_end = FrontEnd()
    assert [p.spoken for p in front_end.push("x <foo> y") + front_end.flush()] == ["x foo y"]
    assert len(front_end.warnings) == 1
    assert [p.spoken for p in front_end.push("again") + front_end.flush()] == ["again"]


def test_another_normaliser_can_take_the_place() -> None:
    assert pieces("abc def", normaliser=lambda text: [Reading(text, text.upper())])[0].spoken == "ABC DEF"


@settings(max_examples=100, deadline=None)
@given(st.lists(PARTS, max_size=8).map("".join), st.integers(1, 7))
def test_a_stream_gives_what_the_whole_text_gives(text: str, size: int) -> None:
    front_end = FrontEnd()
    found: list[Piece] = []
    for at in range(0, len(text), size):
        found += front_end.push(text[at : at + size])
    assert found + front_end.flush() == pieces(text)


def test_speech_begins_before_the_text_ends() -> None:
    front_end, spoken = FrontEnd(), []
    for token in ["Good", " mor", "ning", ".", " It", " is", " ni", "ne"]:
        spoken.append([piece.spoken for piece in front_end.push(token)])
    assert spoken[4] == ["Good morning."]


def test_a_hundred_kilobytes() -> None:
    found = pieces("word and another " * 6000)
    assert sum(len(piece.spoken.split()) for piece in found) == 18000
