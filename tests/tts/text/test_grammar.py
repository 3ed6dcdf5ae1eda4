from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.tts.text.clean import clean
from speech.tts.text.frontend import FrontEnd, Piece, pieces
from speech.tts.text.grammar import LONGEST, aligned, normaliser, read_with
from speech.tts.text.normalise import Normaliser, Reading, join, read
from speech.tts.text.split import INLINE

WORDS = st.sampled_from(
    'the score was 16:9 16 to nine "ten" $5 and (and) NY 10k , o\'clock \\" \ue000 \ue001 — é'.split()
)
TEXTS = st.lists(WORDS | st.text(max_size=4), max_size=12).map(" ".join) | st.text(max_size=30)
ODD = st.text(st.sampled_from("0129 :.,-/'\"\\$%¢½°²#*_~^@|<>[](){}aIVXk\x00\x1b\u200b\n\ue000😀é你ع"), max_size=60)
MARKED = (
    'At <phoneme ph="kæt">cat</phoneme> 16:9, <sub alias="ratio 3:2">r</sub>! <break/>In "10k" steps. '
    '<say-as interpret-as="digits">12</say-as>1:1000'
)


@pytest.fixture(scope="module")
def grammar() -> Normaliser:
    """The real one."""
    pytest.importorskip("wetext", reason="the grammar extra is not installed")
    return normaliser("grammar")


def written(readings: Sequence[Reading]) -> str:
    return "".join(reading.written for reading in readings)


@given(TEXTS, TEXTS)
@example("2 two", "two two")
@example("a to 5", "a to a to five")
@example("5", "")
def test_what_is_aligned_is_all_that_is_written_and_said(text: str, spoken: str) -> None:
    readings = aligned(text, spoken)
    assert written(readings) == text and all(reading.written for reading in readings)
    if text:
        assert "".join(reading.spoken for reading in readings).split() == spoken.split()


def test_readings_are_as_short_as_common_words_allow() -> None:
    assert aligned("On 4/7 it rose to 16:9 of 2 to us.", "On july fourth it rose to sixteen to nine of two to us.") == [
        Reading("On ", "On "),
        Reading("4/7 ", "july fourth "),
        Reading("it ", "it "),
        Reading("rose ", "rose "),
        Reading("to 16:9 ", "to sixteen to nine "),
        Reading("of ", "of "),
        Reading("2 to ", "two to "),
        Reading("us.", "us. "),
    ]


@given(TEXTS.map(clean), TEXTS)
def test_whatever_a_grammar_says_the_text_is_whole_and_can_be_said(text: str, spoken: str) -> None:
    text = text[:20] + chr(INLINE[5]) + text[20:]
    readings = read_with(lambda _: spoken, text)
    assert written(readings) == text
    assert not any(c in "0123456789" for c in join(readings))
    assert [reading for reading in readings if chr(INLINE[5]) in reading.written] == [
        reading for reading in read(text) if chr(INLINE[5]) in reading.written
    ]


@given(TEXTS.map(clean))
def test_a_grammar_that_changes_nothing_leaves_all_to_the_rules(text: str) -> None:
    assert join(read_with(str, text)) == join(read(text))


@pytest.mark.parametrize(
    ("text", "says", "spoken"),
    [
        ("It is No 5 now.", "It is number five now.", "It is number five now."),
        ("It is No 5 now.", "It is number:five now.", "It is No five now."),  # a sign is left
        ("It is No 5 now.", "It is number 5 now.", "It is No five now."),  # a digit is left
        ("It is No 5.", "It is number five", "It is number five."),  # the end of the sentence is as the rules say
        ("At No 5, then 7", "At number five then seven", "At number five, then seven"),
        ("It cost $5 or No 5.", "It cost five bucks or number five.", "It cost five dollars or number five."),
        ("*No 5* it is", "asterisk number five asterisk it is", "No five it is"),
        ("a 2x4 or 1:2", "a two times four or one:two", "a two by four or one to two"),
        ("on 1-2 May", "on one minus two may", "on May first to second"),
        ("(No 5", "(number PM five", "number P M five"),
    ],
)
def test_who_reads_what(text: str, says: str, spoken: str) -> None:
    assert join(read_with(lambda _: says, text)) == spoken


def test_a_grammar_sees_neither_markup_nor_endless_text() -> None:
    asked: list[str] = []

    def say(text: str) -> str:
        asked.append(text)
        return text

    text = f"1:2 {chr(INLINE[0])} and {chr(INLINE[1])}, {chr(INLINE[2])}" + "a 1 " * LONGEST
    assert written(read_with(say, text)) == text
    assert asked == ["1:2 ", "and ", ", "]


def test_a_function_reads_between_markup() -> None:
    def loud(text: str) -> list[Reading]:
        return [Reading(part.written, part.spoken.upper()) for part in read(text)]

    found = pieces(
        'So <sub alias="a web">WWW</sub> it <phoneme ph="kæt">cat</phoneme> is.', normaliser=normaliser(loud)
    )
    assert [(span.written, span.spoken.strip()) for span in found[0].spans] == [
        *(("So ", "SO"), ("WWW ", "A WEB"), ("it ", "IT"), ("cat ", "cat"), ("is", "IS"), (".", "."))
    ]


@pytest.mark.parametrize(
    "function",
    [
        lambda text: [Reading(text[1:], text)],
        lambda text: [Reading("", "and"), Reading(text, text)],
        lambda text: [],
        lambda text: text,
    ],
)
def test_other_readings_are_told(function: Callable) -> None:
    with pytest.raises(SpeechError, match=r"expected Readings that together are 'It is\.', got .*: correct the normal"):
        pieces("It is.", normaliser=normaliser(function))


def test_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert normaliser() is normaliser("rules") is read
    with pytest.raises(
        SpeechError, match="expected rules, grammar or a function as normaliser, got 'nemo': choose one"
    ):
        normaliser("nemo")
    monkeypatch.setitem(__import__("sys").modules, "wetext", None)
    with pytest.raises(SpeechError, match="the library wetext for the grammar, found none: pip install wetext"):
        normaliser("grammar")


GRAMMAR = """
The ratio is 16:9. | The ratio is sixteen to nine.
It was 3:2, and "1:1000" the scale. | It was three to two, and "one to one thousand" the scale.
Now 1000x faster for 250k users | Now one thousand times faster for two hundred fifty thousand users
a 128bit number | a one hundred twenty-eight bit number
San Jose, CA 95112, on Fri, too. | San Jose, California nine five one one two, on Friday, too.
No 5 on the list is due Wed. | Number five on the list is due Wednesday.
2x4 lumber, 5V 2A | two by four lumber, five volts two A
Sept. 11, 2001 at 9:30 a.m. | September eleventh, two thousand one at nine thirty A M.
He paid $3.50 for 100m. | He paid three dollars and fifty cents for one hundred meters.
5 km/h in 1984-1985 | five kilometers per hour in nineteen eighty-four to nineteen eighty-five
Dr. King met the CEO in Chapter IV, etc. | doctor King met the C E O in Chapter four, et cetera.
**Bold** and `16:9` # so_it is | Bold and sixteen to nine so it is
He said "it's 5 o'clock" and (left). | He said "it's five o'clock" and left.
5¢, ½ and \\a 1:2 | five cents, one half and a one to two
"""


@pytest.mark.parametrize(("text", "spoken"), [tuple(line.split(" | ")) for line in GRAMMAR.strip().splitlines()])
def test_the_grammar_reads_what_the_rules_leave(grammar: Normaliser, text: str, spoken: str) -> None:
    assert join(grammar(clean(text))) == spoken


@settings(max_examples=300, deadline=None)
@given(ODD | TEXTS)
def test_any_text_is_read_by_the_grammar(grammar: Normaliser, text: str) -> None:
    for raw in (text, clean(text)):
        assert written(grammar(raw)) == raw
    assert not any(c in "0123456789" for c in join(grammar(clean(text))))


@pytest.mark.parametrize("text", ["1:2 " * 3000, "\\" * 100_000, '"[(' * 33_000, "16:9" * 3000])
def test_long_texts_are_read_by_the_grammar(grammar: Normaliser, text: str) -> None:
    found = pieces(text, normaliser=grammar, markup=False)
    assert written(grammar(text)) == text
    assert sum(piece.spoken.count("one to two") for piece in found) == text.count("1:2 ")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([MARKED, MARKED[:50], "3:2", " 1:", "9. ", "<", "\n\n", "He "]), max_size=6).map("".join),
    st.integers(1, 9),
)
def test_a_stream_gives_what_the_whole_text_gives(grammar: Normaliser, text: str, size: int) -> None:
    front_end = FrontEnd(normaliser=grammar)
    found: list[Piece] = []
    for at in range(0, len(text), size):
        found += front_end.push(text[at : at + size])
    assert found + front_end.flush() == pieces(text, normaliser=grammar)


def test_markup_amid_the_grammar(grammar: Normaliser) -> None:
    found = pieces(MARKED, normaliser=grammar)
    assert [piece.spoken for piece in found if piece.spans] == [
        "At cat sixteen to nine, ratio three to two!",
        'In "ten K" steps. one two one to one thousand',
    ]
    assert [span.phonemes for span in found[0].spans if span.phonemes] == [("K", "AE0", "T")]


def test_another_library_does_too() -> None:
    assert join(partial(read_with, lambda text: text.replace("1:2", "one to two"))("1:2 is $5")) == (
        "one to two is five dollars"
    )
