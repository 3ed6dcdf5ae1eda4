from __future__ import annotations

from string import ascii_lowercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.common.text import normalise, spell


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("HE COULDN'T WAIT", "he couldn't wait"),
        ("'Tis the boys' own -- \u2018well\u2019, he said; \"don\u2019t!\"", "tis the boys own well he said don't"),
        ("Author of the danger trail, Philip Steels, etc.", "author of the danger trail philip steels et cetera"),
        ("Mr. and Mrs. Smith of St. Ives", "mister and missus smith of saint ives"),
        ("the café & bar, 21 or 1,042 rooms", "the cafe and bar twenty one or one thousand forty two rooms"),
        ("", ""),
    ],
)
def test_normalise(written: str, spoken: str) -> None:
    assert normalise(written) == spoken


@settings(max_examples=25, deadline=None)
@given(st.text("abI19,.'\u2019 é&-St", max_size=30))
def test_normalised_text_is_stable_and_within_the_alphabet(text: str) -> None:
    once = normalise(text)
    assert set(once) <= set(f"{ascii_lowercase}' ")
    assert once == " ".join(once.split())
    assert not any(word.startswith("'") or word.endswith("'") for word in once.split())


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (19, "nineteen"),
        (40, "forty"),
        (999, "nine hundred ninety nine"),
        (10**6, "one million"),
        (2_000_017, "two million seventeen"),
        (10**12, " ".join(["one", *["zero"] * 12])),
    ],
)
def test_spell(number: int, words: str) -> None:
    assert spell(number) == words
