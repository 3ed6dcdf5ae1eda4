"""The recogniser's options, the gate before it, and how tokens are written."""

from __future__ import annotations

import numpy as np
import pytest

from speech.asr.events import Word
from speech.asr.whisper.gate import Gate, Level
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.search import Hypothesis
from speech.asr.whisper.text import Text, Timed, spread
from speech.asr.whisper.tokenizer import WhisperTokenizer
from speech.audio.vad import VoiceActivity, VoiceMark
from speech.errors import SpeechError
from tests.asr.whisper.toy import RATE, counted, tones


def test_what_there_is(causal_counter: Whisper, window_counter: Whisper, letters: WhisperTokenizer) -> None:
    causal, plain = WhisperRecogniser(causal_counter, letters), WhisperRecogniser(window_counter, letters)
    assert (causal.chunk, causal.chunks, causal.causal, causal.sample_rate) == (200, [200], True, RATE)
    assert (plain.chunk, plain.chunks, plain.causal, plain.languages) == (1000, [], False, ["en"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chunk": 300}, r"trained for \(200 ms\), got 300 ms"),
        ({"language": "de"}, "an English model, got language 'de'"),
        ({"task": "translate"}, "an English model"),
        ({"beam": -1}, "got -1"),
        ({"device": "abacus"}, "cpu.*got 'abacus'"),
    ],
)
def test_what_there_is_not_is_refused(
    causal_counter: Whisper, letters: WhisperTokenizer, options: dict, says: str
) -> None:
    with pytest.raises(SpeechError, match=says):
        WhisperRecogniser(causal_counter, letters, **options)
    if "device" not in options:
        recogniser = WhisperRecogniser(causal_counter, letters)
        for call in (recogniser.stream, lambda rate, **o: recogniser.transcribe(np.zeros(9, np.float32), rate, **o)):
            with pytest.raises(SpeechError, match=says):
                call(RATE, **options)


def test_looks_have_limits(window_counter: Whisper, letters: WhisperTokenizer) -> None:
    with pytest.raises(SpeechError, match="100 to 10000 ms"):
        WhisperRecogniser(window_counter, letters, chunk=20)


def text(tokenizer: WhisperTokenizer, language: str = "en") -> Text:
    return Text(tokenizer, 0.02, language)


def timed(ids: list[int], frames: int = 10) -> list[Timed]:
    return [Timed(token, i * frames, (i + 1) * frames, -0.1) for i, token in enumerate(ids)]


def test_words_with_spaces_and_punctuation_inside_tokens(letters: WhisperTokenizer) -> None:
    ids = letters.encode(" ab, cd.")
    tokens = timed(ids)
    assert [word.text for word in text(letters).words(tokens)] == ["ab,", "cd."]
    partial = text(letters).partial(tokens, len(tokens))
    assert partial and (partial.text, partial.text[: partial.stable]) == ("ab, cd.", "ab,")
    partial = text(letters).partial(tokens, 3)  # that the word is over is not settled yet
    assert partial and partial.stable == 0
    assert text(letters).segment([]) is None and text(letters).partial([], 0) is None


def test_a_language_without_spaces(letters: WhisperTokenizer) -> None:
    ids = letters.encode("\u4f60\u597d\u3002")
    assert len(ids) > 3  # characters in several tokens
    tokens = timed(ids)
    assert [word.text for word in text(letters, "zh").words(tokens)] == ["\u4f60", "\u597d\u3002"]
    assert len(text(letters).words(tokens)) == 1
    partial = text(letters, "zh").partial(tokens, len(tokens))
    assert partial and (partial.text, partial.stable) == ("\u4f60\u597d\u3002", 1)


def test_times_of_words(letters: WhisperTokenizer) -> None:
    a, b = letters.encode(" a b")
    words = text(letters).words([Timed(a, 0, 100, -0.1), Timed(b, 100, 110, -0.1)], 0.0, 2.1)
    assert words == [Word("a", 1.5, 2.0, words[0].confidence), Word("b", 2.0, 2.1, words[0].confidence)]


def test_tokens_of_one_chunk_are_spread_over_it() -> None:
    hypothesis = Hypothesis((1, 2, 3), (9, 19, 19), (-0.1, -0.1, -0.1))
    assert [(token.start, token.end) for token in spread(hypothesis, 10)] == [(0, 10), (10, 15), (15, 20)]


def test_a_gate_knows_voice_and_pauses() -> None:
    gate = Gate()
    assert gate.begin is None and not gate.paused(9.0, 0.5)
    gate.take([VoiceMark(True, 16000), VoiceMark(False, 24000)])
    assert gate.begin == 1.0 and not gate.paused(1.9, 0.5) and gate.paused(2.0, 0.5)
    gate.take([VoiceMark(True, 40000)])
    assert not gate.paused(99.0, 0.5)
    gate.keep_last()
    assert gate.begin == 2.5
    gate.take([VoiceMark(False, 48000)])
    gate.forget(3.0)
    assert gate.begin is None


def test_the_level_is_that_above_the_quietest() -> None:
    rng = np.random.default_rng(0)
    hum = 1e-2 * rng.standard_normal(10 * RATE).astype(np.float32)
    voice = VoiceActivity(detector=Level())
    marks = voice.push(hum)
    assert [(mark.speaking, round(mark.time)) for mark in marks] == [(True, 0), (False, 4)]
    loud = hum[: 3 * RATE].copy()
    loud[RATE : 2 * RATE] += tones(counted(4))[:RATE]
    marks = voice.push(loud)
    assert [mark.speaking for mark in marks] == [True, False]
    assert [mark.time for mark in marks] == pytest.approx([11.0, 12.0], abs=0.15)
