"""All voices are equally loud."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.tts_small.level import LOUDNESS, levelled, speech_level
from tests.tts.small import small_synthesiser


def test_the_level_is_that_of_the_speech_alone() -> None:
    tone = 0.1 * np.sin(np.arange(16000) / 5).astype(np.float32)
    level = speech_level(tone, 16000)
    assert level == pytest.approx(20 * np.log10(0.1) - 3.01, abs=0.1)
    assert speech_level(np.pad(tone, 16000), 16000) == pytest.approx(level, abs=0.3)


def test_voices_are_made_equally_loud() -> None:
    small = small_synthesiser()
    voices = levelled(small.model, small.reader, dict(small._voices), ["He did."])
    assert len({voice.gain for voice in voices.values()}) == len(voices)
    again = levelled(small.model, small.reader, voices, ["He did."])
    for name, voice in voices.items():
        assert again[name].gain == voice.gain  # found anew, not added to
        small._voices.keep(name, voice)
        said = small.synthesize("He did.", name, seed=1)
        assert speech_level(said.samples, said.sample_rate) == pytest.approx(LOUDNESS, abs=6.0)
