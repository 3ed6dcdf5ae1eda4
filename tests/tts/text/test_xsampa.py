# ruff: noqa: RUF001
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.tts.text.inventory import from_ipa
from speech.tts.text.xsampa import from_xsampa

WORDS = {  # of Wells's page on X-SAMPA and of dictionaries that use it
    "tomato": ('t@"meItoU', "təˈmeɪtoʊ"),
    "thought": ('"TO:t', "ˈθɔːt"),
    "cheer": ('"tSI@', "ˈtʃɪə"),
    "nurse": ("n3:s", "nɜːs"),
    "church": ('"t_S3`:t_S', "ˈtʃɝːtʃ"),
    "judging": ('"dZVdZIN', "ˈdʒʌdʒɪŋ"),
    "rhythm": ('"r\\IDm=', "ˈɹɪðm\u0329"),
    "button": ('"bV?n=', "ˈbʌʔn\u0329"),
    "pleasure": ('"plEZ@`', "ˈplɛʒɚ"),
    "photographic": ('%foUt@"gr\\{fIk', "ˌfoʊtəˈɡɹæfɪk"),
    "roses": ('"r\\oU.zI\\z', "ˈɹoʊ.zᵻz"),
    "the loch": ("D@ lQx", "ðə lɒx"),
}


@pytest.mark.parametrize("word", WORDS)
def test_it_says_what_the_phonetic_alphabet_says(word: str) -> None:
    spelled, ipa = WORDS[word]
    assert from_xsampa(spelled) == from_ipa(ipa) != ()


@pytest.mark.parametrize(
    ("spelled", "named"),
    [("p_hIt", "_h"), ("Ry", "R"), ("X\\a", "X\\"), ("m2:", "2"), ("kæt", "æ"), ("a\x00", "\x00")],
)
def test_what_is_unknown_is_named(spelled: str, named: str) -> None:
    with pytest.raises(SpeechError) as told:
        from_xsampa(spelled)
    assert f"expected sounds of English in X-SAMPA, got {named!r} in" in str(told.value)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([spelling for spelling, _ in WORDS.values()]), max_size=5))
def test_words_stand_one_after_another(spelled: list[str]) -> None:
    words = [from_xsampa(word) for word in spelled]
    said = from_xsampa(" ".join(spelled))
    assert [phoneme for phoneme in said if phoneme != " "] == [p for word in words for p in word if p != " "]
