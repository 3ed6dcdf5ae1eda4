"""What `Partial`s call stable is never taken back, whatever the weights, the sound and the pieces in which it comes."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from speech.asr.events import Final, Partial, SpeechEnd, SpeechStart
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.tokenizer import WhisperTokenizer
from speech.audio.vad import VoiceActivity
from tests.asr.test_session import Loudness
from tests.asr.whisper.small import babble, babbling
from tests.asr.whisper.test_whisper_stream import run

RATE = 16000


def promises(texts: list[Partial | Final]) -> None:
    """A stable part returns in all that is said later of its utterance, and times rise."""
    promised, now = "", 0.0
    for text in texts:
        assert text.text.startswith(promised)
        if isinstance(text, Partial):
            assert len(promised) <= text.stable <= len(text.text)
            promised = text.text[: text.stable]
        else:
            assert all(now <= word.start <= word.end for word in text.words)
            promised, now = "", text.end


@pytest.mark.parametrize("causal", [True, False])
@settings(max_examples=4, deadline=None, phases=[Phase.generate])  # a smaller seed is no simpler
@given(seed=st.integers(0, 9999))
def test_promises_are_kept(syllables: WhisperTokenizer, causal: bool, seed: int) -> None:
    rng = Random(seed)
    voiced = rng.random() < 0.5
    recogniser = babbling(syllables, causal, 40 if causal else 200, seed)
    pauses = [np.zeros(rng.randint(0, RATE // 2), np.float32) for _ in range(3)]
    pcm = np.concatenate([x for i, pause in enumerate(pauses) for x in (babble(rng.randint(2, 10), seed + i), pause)])
    stream = recogniser.stream(
        RATE,
        chunk=rng.choice(recogniser.chunks or [200, 500]),
        language=rng.choice(["ja", "zh", "auto"]),  # a character is a word there: it babbles without spaces
        beam=rng.choice([0, 1, 3]),
        prompt=rng.choice([None, "Ada"]),
        voice=VoiceActivity(detector=Loudness()) if voiced else None,
    )
    events = run(stream, pcm, tuple(rng.randint(1, 6000) for _ in range(5)))
    texts = [event for event in events if isinstance(event, Partial | Final)]
    promises(texts)
    marks = [event for event in events if isinstance(event, SpeechStart | SpeechEnd)]
    assert [type(mark) for mark in marks] == [SpeechStart, SpeechEnd] * (len(marks) // 2)
    for text in texts:
        assert 0 <= text.start <= text.end <= len(pcm) / RATE + 0.0005
        if isinstance(text, Final):
            assert (text.start, text.end) == (text.words[0].start, text.words[-1].end)
            assert all(0 <= x.confidence <= 1 for x in (text, *text.words))


def test_promises_are_made(babbler: WhisperRecogniser) -> None:
    texts = [e for e in run(babbler.stream(RATE, language="ja"), babble(40)) if isinstance(e, Partial | Final)]
    assert sum(isinstance(text, Partial) and text.stable > 2 for text in texts) > 5
    promises(texts)
