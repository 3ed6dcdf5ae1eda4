"""The synthesiser that ships with the package."""

from __future__ import annotations

import numpy as np
import pytest

import speech
from speech.hub.find import locate

TEXT = "Good morning. One, two, three."


@pytest.fixture(scope="module")
def synthesiser() -> speech.Synthesiser:
    return speech.load("tts", "cpu")


def test_it_is_small_and_has_voices(synthesiser: speech.Synthesiser) -> None:
    assert len(synthesiser.voices) >= 4
    assert sum(file.stat().st_size for file in locate("tts").iterdir()) < 60e6
    assert sum(p.numel() for p in synthesiser.model.parameters()) < 40e6


@pytest.mark.parametrize("voice", [0, -1])
def test_whole_and_streamed_text_sound_alike(synthesiser: speech.Synthesiser, voice: int) -> None:
    name = synthesiser.voices[voice]
    whole = synthesiser.synthesize(TEXT, name, seed=1)
    assert 1.0 < whole.seconds < 8.0 and np.abs(whole.samples).max() > 0.05
    assert [word.text for word in whole.words] == ["Good", "morning", "One", "two", "three"]
    with synthesiser.stream([TEXT[:7], TEXT[7:]], name, seed=1) as stream:
        parts = [part.samples for part in stream]
    assert len(parts) > 3
    np.testing.assert_allclose(np.concatenate(parts), whole.samples, atol=1e-4)
