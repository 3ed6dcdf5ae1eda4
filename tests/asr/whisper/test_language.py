"""Which language is spoken: found out by one pass, by files and by live streams, and what becomes of it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speech.asr.events import Final
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.gate import Gate, beginning
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.passes import Passes
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.search import Search
from speech.asr.whisper.tokenizer import AUTO, UNKNOWN, WhisperTokenizer
from speech.audio.vad import VoiceMark
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from tests.asr.whisper.small import SYMBOLS, WORDS, babble, babbling, talkative
from tests.asr.whisper.test_search import CONFIG, LOOSE, chunk, random_frames
from tests.asr.whisper.test_whisper_stream import run
from tests.asr.whisper.toy import RATE, counted, tones

ASKED = dataclasses.replace(LOOSE, language=AUTO)
SILENCE = np.zeros(2 * RATE, np.float32)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return talkative(CONFIG).decoder


def likeliest(decoder: Decoder, frames: torch.Tensor) -> list[str]:
    """By the definition: logits behind the start alone, languages among themselves. frames: [b, t, d]."""
    ids = torch.full((len(frames), 1), SYMBOLS.start)
    with torch.inference_mode():
        logits = decoder(ids, Frames.whole(frames))[:, 0]
    codes = {code: SYMBOLS.language(code) for code in SYMBOLS.languages}
    return [max(codes, key=lambda code: float(row[codes[code]])) for row in logits]


def test_probabilities(decoder: Decoder) -> None:
    frames = random_frames(1, 3, 20)
    told = Search(decoder, SYMBOLS, LOOSE).languages(Frames.whole(frames))
    assert [next(iter(row)) for row in told] == likeliest(decoder, frames)
    for row in told:
        assert sorted(row) == sorted(SYMBOLS.languages) and sum(row.values()) == pytest.approx(1.0)
        assert list(row.values()) == sorted(row.values(), reverse=True)


def test_a_prompt_that_is_to_be_found_out() -> None:
    assert SYMBOLS.prompt(AUTO)[:2] == [SYMBOLS.start, UNKNOWN]


@pytest.mark.parametrize("beam", [0, 3])
def test_windows_say_what_they_say_when_told(decoder: Decoder, beam: int) -> None:
    """Each of a batch in its own language, behind a prompt too."""
    frames = torch.cat([random_frames(seed, 1, 20) for seed in range(4)])
    codes = likeliest(decoder, frames)
    assert len(set(codes)) > 1
    request = dataclasses.replace(ASKED, beam=beam, prompt=(WORDS[3], WORDS[5]))
    told = Search(decoder, SYMBOLS, request).decode(Frames.whole(frames))
    assert [h.language for h in told] == codes
    for row, code, h in zip(frames, codes, told, strict=True):
        known = Search(decoder, SYMBOLS, dataclasses.replace(request, language=code)).decode(Frames.whole(row[None]))[0]
        assert (h.ids, known.language) == (known.ids, None) and h.mean == pytest.approx(known.mean, abs=1e-5)


@pytest.mark.parametrize("beam", [0, 3])
def test_chunks_say_what_they_say_when_told(decoder: Decoder, beam: int) -> None:
    """The first chunk with sound tells; a stream beside it that was told does not notice."""
    request, frames = dataclasses.replace(ASKED, beam=beam), random_frames(3, 2, 24)
    [code] = likeliest(decoder, frames[:1, :8])
    auto, known = (Search(decoder, SYMBOLS, dataclasses.replace(request, language=x)) for x in (AUTO, code))
    states = [auto.init_state(2, dtype=torch.double), known.init_state(2, dtype=torch.double)]
    for state in states:
        auto.begin(state["texts"], 1, language="fr")
    slots, found = torch.tensor([0, 1]), []
    for at in range(-8, 24, 8):
        rows = chunk([row[max(at, 0) : max(at, 0) + 8] for row in frames], [at, at])
        told, expected = auto.step(rows, states[0], slots), known.step(rows, states[1], slots)
        found.append(told[0].language)
        assert [h.ids for h in told] == [h.ids for h in expected]
        assert told[1].language is None
    assert found == [None, code, None, None] and told[0].ids


def test_what_is_recognised_by_default(babbler: WhisperRecogniser, babbling_windows: WhisperRecogniser) -> None:
    """Models that were trained to stream know one language mostly."""
    assert (babbler.request.language, babbling_windows.request.language) == ("en", AUTO)
    with pytest.raises(SpeechError, match=r"yue|su, auto"):
        babbling_windows.stream(RATE, language="tlh")


def test_english_models_know(
    causal_counter: Whisper, window_counter: Whisper, letters: WhisperTokenizer, decoder: Decoder
) -> None:
    for model in (causal_counter, window_counter):
        recogniser = WhisperRecogniser(model, letters, language=AUTO)
        assert recogniser.request.language == "en"
        assert recogniser.detect_language(tones(counted(3)), RATE) == {"en": 1.0}
        assert recogniser.stream(RATE, language=AUTO).language == "en"
        transcript = recogniser.transcribe(tones([-1, *counted(5)]), RATE)
        assert transcript.language == "en" == transcript.to_dict()["language"]
    with pytest.raises(SpeechError, match="a multilingual model to tell a language"):
        Search(window_counter.decoder, letters.symbols).languages(Frames.whole(torch.zeros(1, 4, 32)))


def test_a_recording(babbling_windows: WhisperRecogniser, tmp_path: Path) -> None:
    """Heard in the language of its first window: as if it had been told. Translated it is still what was spoken."""
    pcm = np.concatenate([SILENCE, babble(60)])
    found = babbling_windows.detect_language(pcm, RATE)
    transcript = babbling_windows.transcribe(pcm, RATE)
    assert transcript.language == next(iter(found)) and len(found) == 99
    assert babbling_windows.transcribe(pcm, RATE, language=transcript.language) == transcript
    assert babbling_windows.transcribe(pcm, RATE, task="translate").language == transcript.language
    soundfile.write(tmp_path / "babble.wav", pcm, RATE, subtype="FLOAT")
    assert babbling_windows.detect_language(tmp_path / "babble.wav") == pytest.approx(found, abs=1e-5)


def test_a_recording_in_chunks(babbler: WhisperRecogniser) -> None:
    pcm = babble(24)
    found = babbler.detect_language(pcm[: round(0.8 * RATE)], RATE)
    assert sum(found.values()) == pytest.approx(1.0)
    transcript = babbler.transcribe(pcm, RATE, language=AUTO)
    assert transcript.language in found and babbler.transcribe(pcm, RATE).language == "en"


def test_silence_is_no_language(babbling_windows: WhisperRecogniser) -> None:
    transcript = babbling_windows.transcribe(SILENCE, RATE)
    assert transcript.language is None and "language" not in transcript.to_dict()
    with pytest.raises(SpeechError, match="heard none"):
        babbling_windows.detect_language(SILENCE, RATE)


@pytest.mark.parametrize("kind", ["babbler", "babbling_windows"])
def test_a_live_stream(kind: str, request: pytest.FixtureRequest) -> None:
    """It waits for enough voice, keeps the language over pauses, and forgets it with the stream."""
    recogniser: WhisperRecogniser = request.getfixturevalue(kind)
    stream = recogniser.stream(RATE, language=AUTO)
    first = np.concatenate([SILENCE, babble(32, 1), SILENCE])
    assert stream.push(SILENCE) == [] and stream.language is None
    stream.reset()
    expected = run(stream, first, (1600,))
    code = stream.language
    assert code in SYMBOLS.languages and any(isinstance(event, Final) for event in expected)
    stream.reset()
    assert stream.language is None
    assert run(stream, first, (777, 9001)) == expected and stream.language == code
    stream.reset()
    for at in range(0, len(first), 1600):
        stream.push(first[at : at + 1600])
    assert stream.language == code
    stream.push(babble(32, 7))
    assert stream.language == code


@pytest.mark.parametrize("causal", [False, True])
def test_a_cough_is_no_language(causal: bool, syllables: WhisperTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An utterance of less than a second is decoded once it is over, and the next tells again, when it has a second."""
    stream, found = babbling(syllables, causal, positions=600).stream(RATE, language=AUTO), []
    find_out = Passes.find_out
    monkeypatch.setattr(Passes, "find_out", lambda *rest: (found.append(stream.duration), find_out(*rest))[1])
    cough = np.concatenate([SILENCE, babble(2)])
    stream.push(cough)
    assert not found
    stream.push(SILENCE)
    assert len(found) == 1 and stream.language is None
    for _ in range(20):
        stream.push(babble(1, seed=1))
    assert len(found) == 2 and stream.language in SYMBOLS.languages
    assert 1.0 <= found[1] - 4.25 < 1.5  # seconds after voice was back
    stream.reset()
    stream.push(cough)
    stream.flush()
    assert len(found) == 3  # the end of the stream waits for nothing more


def test_how_much_voice_there_was() -> None:
    gate = Gate()
    assert gate.seconds(9.0) == 0.0
    gate.take([VoiceMark(True, RATE), VoiceMark(False, 2 * RATE), VoiceMark(True, 3 * RATE)])
    assert gate.spans[-1][1] == math.inf and gate.seconds(3.5) == 1.5


def test_where_a_recording_begins() -> None:
    """Shortly before voice, wherever that lies in the pieces; all that was asked for, or all there is."""
    pcm = np.concatenate([SILENCE, tones(counted(12)), SILENCE])
    loud = int(np.flatnonzero(np.abs(pcm) > 0.05)[0])
    for size in (1000, 30000, len(pcm)):
        found = beginning((pcm[i : i + size] for i in range(0, len(pcm), size)), 2 * RATE)
        at = int(np.flatnonzero(np.abs(found) > 0.05)[0])
        assert 0.2 < at / RATE < 0.4
        np.testing.assert_array_equal(found, pcm[loud - at :][: 2 * RATE])
    assert len(beginning([pcm], 99 * RATE)) == pytest.approx(len(pcm) - 1.7 * RATE, abs=0.1 * RATE)
