"""Streams of a causal Whisper that counts: nothing is lost or doubled, whatever is pushed, wherever it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Event, Final, Partial, SpeechEnd, SpeechStart
from speech.asr.live import LiveStream
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.stream import WhisperStream
from speech.asr.whisper.tokenizer import WhisperTokenizer
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from tests.asr.test_session import Loudness
from tests.asr.whisper.toy import PERIOD, POSITIONS, RATE, counted, spelt, tones

PAUSE = [-1] * 5
QUICK = EndpointConfig(silence=0.6, voice_silence=0.4)


@pytest.fixture(scope="module")
def recogniser(causal_counter: Whisper, letters: WhisperTokenizer) -> WhisperRecogniser:
    return WhisperRecogniser(causal_counter, letters, endpoint=QUICK)


def run(stream: LiveStream, pcm: np.ndarray, sizes: tuple[int, ...] = (1600,)) -> list[Event]:
    """Push `pcm` in pieces of the given sizes, again and again, and flush."""
    events, at, turn = [], 0, 0
    while at < len(pcm):
        size = sizes[turn % len(sizes)]
        events += stream.push(pcm[at : at + size])
        at, turn = at + size, turn + 1
    return events + stream.flush()


def finals(events: list[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def said(events: list[Event]) -> str:
    return " ".join(final.text for final in finals(events))


def check(events: list[Event]) -> None:
    """A stable part returns in all that is said later of its utterance; starts and ends come in pairs; times rise."""
    promised, open_, now = "", False, 0.0
    for event in events:
        if isinstance(event, SpeechStart):
            assert not open_
            open_, promised = True, ""
        elif isinstance(event, SpeechEnd):
            assert open_
        elif isinstance(event, Partial | Final):
            assert open_ and event.text.startswith(promised)
            if isinstance(event, Partial):
                assert len(promised) <= event.stable <= len(event.text)
                promised = event.text[: event.stable]
            else:
                for word in event.words:
                    assert now <= word.start <= word.end
                    now = word.end
                open_ = False
    assert not open_


def test_speech_without_a_pause_loses_and_doubles_nothing(recogniser: WhisperRecogniser) -> None:
    """For ten minutes, 150 times what the model can attend to."""
    letters = counted(1875)
    stream = recogniser.stream(RATE)
    assert isinstance(stream, WhisperStream) and len(letters) * PERIOD == 150 * POSITIONS * 0.02 == 600
    events = run(stream, tones([-1, *letters]))
    assert said(events) == spelt(letters)
    assert len(finals(events)) > 190
    check(events)
    times = [word.end for final in finals(events) for word in final.words]
    spoken = [(1 + i) * PERIOD + 0.24 for i in range(len(letters))]
    late = np.array(times) - spoken
    assert 0 < np.median(late) < 0.4 and np.abs(late).max() < 0.9  # a letter comes with the chunk after its tone


def test_pauses_end_utterances_and_silence_is_not_decoded(
    recogniser: WhisperRecogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = recogniser.stream(RATE)
    assert isinstance(stream, WhisperStream)
    pcm = tones([*PAUSE, *counted(5), *PAUSE, *counted(3), *[-1] * 60, *counted(4), -1, -1])
    heard: list[float] = []
    step = stream.setup.search.step
    monkeypatch.setattr(
        stream.setup.search, "step", lambda frames, *rest: (heard.append(stream.duration), step(frames, *rest))[1]
    )
    events = run(stream, pcm)
    assert [final.text for final in finals(events)] == [spelt(counted(n)) for n in (5, 3, 4)]
    starts = [final.start for final in finals(events)]
    assert starts == pytest.approx([5 * PERIOD, 15 * PERIOD, 78 * PERIOD], abs=0.35)
    assert not any(22 * PERIOD < time < 78 * PERIOD for time in heard) and heard
    check(events)


@settings(max_examples=4, deadline=None)
@given(sizes=st.lists(st.integers(50, 9000), min_size=1, max_size=3), voiced=st.booleans())
def test_events_do_not_depend_on_how_samples_are_pushed(
    recogniser: WhisperRecogniser, sizes: list[int], voiced: bool
) -> None:
    pcm = tones([*PAUSE, *counted(12), *PAUSE, *counted(3)])
    voice = VoiceActivity(detector=Loudness()) if voiced else None
    stream = recogniser.stream(RATE, voice=voice)
    expected = run(stream, pcm, (len(pcm),))
    assert said(expected) == f"{spelt(counted(12))} {spelt(counted(3))}"
    stream.reset()
    assert run(stream, pcm, tuple(sizes)) == expected
    marks = [event.time for event in expected if isinstance(event, SpeechStart | SpeechEnd)]
    assert marks == sorted(marks) and len(marks) >= 4


@pytest.mark.parametrize("options", [{"beam": 2}, {"task": "transcribe"}])
def test_what_is_asked_for(recogniser: WhisperRecogniser, options: dict) -> None:
    events = run(recogniser.stream(RATE, **options), tones([-1, *counted(14), -1]))
    assert said(events) == spelt(counted(14))
    check(events)


def test_aligned_words_lie_where_they_were_said(causal_counter: Whisper, letters: WhisperTokenizer) -> None:
    recogniser = WhisperRecogniser(causal_counter, letters, endpoint=QUICK, aligned=True)
    events = run(recogniser.stream(RATE), tones([-1, *counted(30), *PAUSE]))
    assert said(events) == spelt(counted(30))
    check(events)
    times = [word.end for final in finals(events) for word in final.words]
    late = np.array(times) - [(1 + i) * PERIOD + 0.24 for i in range(30)]
    assert np.abs(np.median(late)) < 0.4 and np.abs(late).max() < 1.6  # one layer's attention is blunt


def test_a_file_says_what_a_stream_says(recogniser: WhisperRecogniser) -> None:
    pcm = tones([-1, *counted(20), *PAUSE, *counted(6)])
    transcript = recogniser.transcribe(pcm, RATE)
    assert transcript.text == f"{spelt(counted(20))} {spelt(counted(6))}"
    assert transcript.duration == len(pcm) / RATE
    assert transcript.text == said(run(recogniser.stream(RATE), (pcm * 32767).astype(np.int16)))


def test_another_sample_rate(recogniser: WhisperRecogniser) -> None:
    pcm = np.repeat(tones([-1, *counted(6), *PAUSE]), 2)
    assert said(run(recogniser.stream(2 * RATE), pcm)) == spelt(counted(6))


def test_silence_says_nothing_and_grows_nothing(recogniser: WhisperRecogniser) -> None:
    stream = recogniser.stream(RATE)
    assert isinstance(stream, WhisperStream)
    rng = np.random.default_rng(0)
    hum = 1e-2 * rng.standard_normal(5 * RATE).astype(np.float32)  # steady noise at -40 dB
    check(stream.push(hum) + stream.push(hum))  # which is known for such after 4 s
    for x in [hum, hum, np.zeros_like(hum), 1e-4 * hum]:
        assert stream.push(x) == []
        assert stream._held is not None and len(stream._held) <= 20
    assert stream.flush() == [] and stream.duration == 30.0


def test_noise_does_not_run_away(recogniser: WhisperRecogniser) -> None:
    """Bursts that are no tones of the alphabet: at most what can be said in their time."""
    rng = np.random.default_rng(1)
    loud = 0.3 * rng.standard_normal(12 * RATE) * np.repeat(rng.uniform(0, 1, 48) ** 3, RATE // 4)
    events = run(recogniser.stream(RATE), loud.astype(np.float32))
    check(events)
    assert all(len(final.words) <= 12 + 15 * 4 for final in finals(events))
    assert max(len(event.text) for event in events if isinstance(event, Partial)) < 200


def test_music_is_no_text_without_end(recogniser: WhisperRecogniser) -> None:
    """Chords that change twice a second, over a beat."""
    t, rng = np.arange(12 * RATE) / RATE, np.random.default_rng(2)
    roots = np.repeat(220 * 2 ** (rng.integers(0, 12, 24) / 12), RATE // 2)
    chords = sum(np.sin(2 * np.pi * np.cumsum(roots * step) / RATE) for step in (1, 1.26, 1.5, 2))
    beat = rng.standard_normal(len(t)) * np.exp(-30 * (t % 0.25))
    events = run(recogniser.stream(RATE), (0.08 * chords + 0.1 * beat).astype(np.float32))
    check(events)
    assert all(len(final.words) <= 12 + 15 * 4 for final in finals(events))


def test_the_tail_and_another_stream(recogniser: WhisperRecogniser) -> None:
    stream = recogniser.stream(RATE)
    pcm = tones([-1, *counted(9)])
    assert said(run(stream, pcm)) == spelt(counted(9))
    for call in (stream.flush, lambda: stream.push(pcm)):
        with pytest.raises(SpeechError, match="flushed"):
            call()
    stream.reset()
    assert said(run(stream, pcm)) == spelt(counted(9))
    with stream:
        pass
    with pytest.raises(SpeechError, match="closed"):
        stream.push(pcm)
    with pytest.raises(SpeechError, match="float32 or int16"):
        recogniser.stream(RATE).push([0.0])  # type: ignore[arg-type]


def test_latency_is_the_chunk_and_what_the_front_end_waits(recogniser: WhisperRecogniser) -> None:
    assert recogniser.stream(RATE).latency == pytest.approx(0.2125)
    assert recogniser.stream(RATE).remark == ""
