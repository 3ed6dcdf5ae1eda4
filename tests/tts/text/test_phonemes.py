# ruff: noqa: RUF001
from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from ctypes.util import find_library

import pytest

from speech.errors import SpeechError
from speech.tts.text import inventory, lexicon_build
from speech.tts.text.letters import stressed
from speech.tts.text.lexicon import Lexicon
from speech.tts.text.phonemes import Phonemiser, Word, phonemes, phonemiser


@pytest.fixture(scope="module")
def lexicon() -> Phonemiser:
    return phonemiser("lexicon")


def said(text: str, by: Phonemiser) -> str:
    """Phonemes of all words, "_" or a pause between them."""
    parts = [symbol for word in phonemes(text, by) for symbol in (*word.phonemes, word.pause or "_")]
    return " ".join(parts).removesuffix(" _")


def test_the_inventory_never_changes() -> None:
    assert len(inventory.SYMBOLS) == len(set(inventory.SYMBOLS)) == 78
    assert inventory.SYMBOLS[:10] == ("_", " ", ",", ".", "?", "!", ";", ":", "-", "B")
    assert inventory.ids(["AA0", "ZH", "UW2"]) == [33, 32, 77]
    assert inventory.decode(inventory.encode(inventory.SYMBOLS)) == inventory.SYMBOLS
    with pytest.raises(SpeechError, match="XX"):
        inventory.ids(["XX"])


@pytest.mark.parametrize(
    ("ipa", "arpabet"),
    [
        ("təˈmeɪtoʊ", "T AH0 M EY1 T OW0"), ("həlˈoʊ", "HH AH0 L OW1"), ("ˌʌndɚˈstænd", "AH2 N D ER0 S T AE1 N D"),
        ("t͡ʃɝːt͡ʃ", "CH ER0 CH"), ("ˈbʌʔn̩", "B AH1 T AH0 N"), ("ˈkɑːɹ", "K AA1 R"),
    ],
)  # fmt: skip
def test_phonetic_alphabet(ipa: str, arpabet: str) -> None:
    assert " ".join(inventory.from_ipa(ipa)) == arpabet
    assert inventory.from_arpabet(arpabet.lower()) == inventory.from_ipa(ipa)


def test_foreign_sounds_are_refused() -> None:
    with pytest.raises(SpeechError, match="ø"):
        inventory.from_ipa("bø")
    assert inventory.from_ipa("bø", strict=False) == ("B",)
    with pytest.raises(SpeechError, match="QQ"):
        inventory.from_arpabet("QQ1")


@pytest.mark.parametrize(("word", "as_if"), [("Straße", "strasse"), ("Æsop", "aesop"), ("Søren", "soren")])
def test_letters_beyond_a_to_z_are_not_lost(word: str, as_if: str, lexicon: Phonemiser) -> None:
    assert said(word, lexicon) == said(as_if, lexicon) != ""


def test_words_carry_phonemes_and_pauses(lexicon: Phonemiser) -> None:
    assert phonemes('"Hello," she said - twenty-one.', lexicon) == [
        Word("Hello", ("HH", "AH0", "L", "OW1"), ","),
        Word("she", ("SH", "IY1")),
        Word("said", ("S", "EH1", "D"), "-"),
        Word("twenty", ("T", "W", "EH1", "N", "T", "IY0")),
        Word("one", ("W", "AH1", "N"), "."),
    ]
    assert said("Go on", lexicon) == "G OW1 _ AA1 N"
    assert phonemes("?! 中文 ...", lexicon) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The apple", "DH IY0 _ AE1 P AH0 L"), ("the cat", "DH AH0 _ K AE1 T"), ("A cat", "AH0 _ K AE1 T"),
        ("A T and T", "EY1 _ T IY1 _ AH0 N D _ T IY1"), ("plan A", "P L AE1 N _ EY1"),
        ("to record", "T UW1 _ R IH0 K AO1 R D"), ("a record", "AH0 _ R EH1 K ER0 D"),
        ("I read", "AY1 _ R IY1 D"), ("I have read", "AY1 _ HH AE1 V _ R EH1 D"), ("café", "K AH0 F EY1"),
        ("livestreaming", "L AY1 V S T R IY2 M IH0 NG"), ("blogged", "B L AO1 G D"), ("vlogs", "V L AO1 G Z"),
        ("snoozed", "S N UW1 Z D"), ("kludged", "K L AH1 JH D"), ("vaped", "V EY1 P T"),
    ],
)  # fmt: skip
def test_pronunciations_in_context(lexicon: Phonemiser, text: str, expected: str) -> None:
    assert said(text, lexicon) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("snarkle", "S N AA1 R K AH0 L"), ("plimation", "SH AH0 N"), ("frabbit", "F R"), ("xkcd", "S IY1 D IY1")],
)
def test_unknown_words_are_read_by_their_letters(lexicon: Phonemiser, word: str, expected: str) -> None:
    sound = said(word, lexicon)
    assert expected in sound and sound.count("1") >= 1


def test_one_vowel_is_stressed() -> None:
    assert stressed(("B", "AH0", "T", "EH0")) == ("B", "AH0", "T", "EH1")
    assert stressed(("EH1", "T", "AH1")) == ("EH1", "T", "AH2")
    assert stressed(("S",)) == ("S",)


def test_a_lexicon_is_learnt_from_a_dictionary() -> None:
    spelled = {"b": "B", "d": "D", "k": "K", "m": "M", "t": "T", "a": "AE1", "i": "IH1", "o": "AA1"}
    made = [x + y + z for x in "bdkmt" for y in "aio" for z in "bdkmt"]
    words = {word: tuple(spelled[letter] for letter in word) for word in made if word != "mat"}
    learnt = Lexicon(lexicon_build.pack(words, lexicon_build.learn(words)))
    assert learnt.word("mat") == ("M", "AE1", "T")
    assert all(learnt.word(word) == sound for word, sound in words.items())
    assert lexicon_build.pack(words, lexicon_build.learn(words)) == lexicon_build.pack(
        words, lexicon_build.learn(words)
    )


def test_other_phonemisers_are_refused() -> None:
    with pytest.raises(SpeechError, match="lexicon, espeak"):
        phonemiser("festival")


@pytest.mark.skipif(
    not importlib.util.find_spec("espeakng_loader") and not find_library("espeak-ng"),
    reason="eSpeak NG is not installed",
)
def test_espeak_speaks_the_same_inventory_from_many_threads() -> None:
    espeak = phonemiser("espeak")
    assert said("Hello a better world!", espeak) == "HH AH0 L OW1 _ AH0 _ B EH1 T ER0 _ W ER1 L D !"
    words = [f"{head}{tail}" for head in ("bell", "tram", "spin") for tail in ("er", "ing", "", "s", "ation")]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: phonemiser("espeak").pronounce(words[i:] + words[:i])[-i:], range(1, 9)))
    assert all(result == espeak.pronounce(words[:i]) for i, result in enumerate(results, 1))
    assert all(symbol in inventory.IDS for sound in espeak.pronounce([*words, "中文", "Привет"]) for symbol in sound)
    with pytest.raises(SpeechError, match="en-us"):
        type(espeak)("no-such-voice")  # type: ignore[call-arg]
