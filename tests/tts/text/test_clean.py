# ruff: noqa: RUF001
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.tts.text.clean import clean, foreign, speakable, strip


def test_what_is_invisible_or_typographic_becomes_plain() -> None:
    assert clean("a\x00b\u200bc\ufeff \u201cd\u201d\u2019s\u00a0e\r\nf\t g") == 'a bc "d"\'s e f g'
    assert clean("ｆｕｌｌ ﬁne 𝐛𝐨𝐥𝐝 Ⅳ e\u0301 m²") == "full fine bold Ⅳ é m²"
    assert clean("H₂O 5㎞ 2ⁿᵈ xⁿ 1⁄2 ❷ don´t sy\u00adllable") == "H2O 5km 2nd xⁿ 1/2 ② don't syllable"
    assert clean("a\n \n\nb\nc") == "a\n\nb c"
    assert clean("\ud800x\ue000y") == "x y"
    assert clean("5️⃣ 👨‍👩‍👧 🇩🇪 ok ❤️") == "5 ok"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30), st.integers(0, 30))
def test_stripping_pieces_is_stripping_the_text(text: str, cut: int) -> None:
    assert strip(text[:cut]) + strip(text[cut:]) == strip(text)
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("text", "says"), [("", False), ("?! ...", False), ("😀", False), ("a", True), ("5", True), ("$", True)]
)
def test_speakable(text: str, says: bool) -> None:
    assert speakable(text) is says


def test_scripts_that_a_voice_does_not_know_are_found() -> None:
    assert foreign("Hello Привет 中文 café naïve π") == {"Cyrillic": "Привет", "Chinese": "中文"}
    assert foreign("Привет", scripts=("CYRILLIC",)) == {}
    assert foreign("5 µm, 3 Ω, 1ª, 3½, x², H₂O, ①, Ⅳ, 2π, Δx") == {}
    assert foreign("αβ") == {"Greek": "αβ"}
