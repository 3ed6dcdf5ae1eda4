"""Streams of Whispers as bytes: cut anywhere, they go on in another slot, or with the model loaded anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Event
from speech.asr.live import LiveStream
from speech.asr.whisper.longform import LongFormStream
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.tokenizer import WhisperTokenizer
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from tests.asr.test_session import Heard, Loudness
from tests.asr.whisper.small import babble
from tests.asr.whisper.test_whisper_stream import run, said
from tests.asr.whisper.toy import RATE, counted, counter, spelt, tones

QUICK = EndpointConfig(silence=0.6, voice_silence=0.4)
PAUSE = [-1] * 3


def moved(streams: tuple[LiveStream, LiveStream], pcm: np.ndarray, sizes: list[int]) -> list[Event]:
    """What a stream says that goes to and fro between two, one piece here and one there."""
    (here, there), events, at = streams, list[Event](), 0
    for i in range(len(pcm)):
        events += here.push(pcm[at : at + sizes[i % len(sizes)]])
        at += sizes[i % len(sizes)]
        data = here.snapshot()
        here.push(babble(3, seed=i))  # what comes after the snapshot must leave no trace in it
        there.restore(data)
        here, there = there, here
        if at >= len(pcm):
            break
    return events + here.flush()


@pytest.mark.parametrize(("beam", "aligned", "voice"), [(0, False, None), (2, False, None), (0, True, Heard)], ids=str)
def test_a_causal_stream_goes_on_in_another_slot(
    causal_counter: Whisper, letters: WhisperTokenizer, beam: int, aligned: bool, voice: Callable | None
) -> None:
    """Through pauses, and where speech without one is cut."""
    recogniser = WhisperRecogniser(causal_counter, letters, endpoint=QUICK, beam=beam, aligned=aligned)
    host = recogniser.host(2)

    def opened() -> LiveStream:
        return host.open(voice=voice and VoiceActivity(detector=voice())).stream

    pcm = tones([-1, *counted(15), *PAUSE, *counted(4)])
    expected = run(recogniser.stream(RATE, voice=voice and VoiceActivity(detector=voice())), pcm)
    assert said(expected) == f"{spelt(counted(15))} {spelt(counted(4))}"
    assert moved((opened(), opened()), pcm, [3333, 9999]) == expected


def test_a_stream_goes_on_with_the_model_loaded_anew(causal_counter: Whisper, letters: WhisperTokenizer) -> None:
    pcm = tones([-1, *counted(9)])
    stream = WhisperRecogniser(causal_counter, letters, endpoint=QUICK).stream(RATE)
    events = stream.push(pcm[:20000])
    other = WhisperRecogniser(counter(causal=True), letters, endpoint=QUICK).stream(RATE)
    other.restore(stream.snapshot())
    rest = [*other.push(pcm[20000:]), *other.flush()]
    assert rest == [*stream.push(pcm[20000:]), *stream.flush()]
    assert said(events + rest) == spelt(counted(9))


def test_a_stream_of_another_whisper_goes_on(window_counter: Whisper, letters: WhisperTokenizer) -> None:
    recogniser = WhisperRecogniser(window_counter, letters, chunk=400, endpoint=QUICK)
    host = recogniser.host(2)
    pcm = tones([-1, *counted(14), *PAUSE, *counted(3)])
    expected = run(recogniser.stream(RATE), pcm)
    assert said(expected) == f"{spelt(counted(14))} {spelt(counted(3))}"
    assert moved((host.open().stream, host.open().stream), pcm, [5000, 8123]) == expected


def test_a_language_that_was_found_out_is_kept(babbler: WhisperRecogniser) -> None:
    pcm, streams = babble(40), [babbler.stream(RATE, language="auto") for _ in range(3)]
    expected = run(streams[0], pcm)
    assert streams[0].language and said(expected)
    assert moved((streams[1], streams[2]), pcm, [12000]) == expected


def test_a_recording_goes_on(window_counter: Whisper, letters: WhisperTokenizer) -> None:
    recogniser = WhisperRecogniser(window_counter, letters, endpoint=QUICK)
    windows, pcm = recogniser._windows(recogniser.request), tones([-1, *counted(20)])
    streams = [LongFormStream(windows, RATE) for _ in range(3)]
    assert moved((streams[1], streams[2]), pcm, [40000]) == run(streams[0], pcm)


def test_snapshots_that_do_not_fit(causal_counter: Whisper, window_counter: Whisper, letters: WhisperTokenizer) -> None:
    causal = WhisperRecogniser(causal_counter, letters)
    data = causal.stream(RATE).snapshot()
    with pytest.raises(SpeechError, match="of AgreementStream watched by Level, got one of WhisperStream"):
        WhisperRecogniser(window_counter, letters).stream(RATE).restore(data)
    with pytest.raises(SpeechError, match="layout"):
        causal.stream(RATE, beam=2).restore(data)
    with pytest.raises(SpeechError, match="bytes"):
        causal.stream(RATE).restore(data[:-5])
    watched = causal.stream(RATE, voice=VoiceActivity(detector=Loudness()))
    with pytest.raises(SpeechError, match="whose state can be taken out, got Loudness"):
        watched.snapshot()
    with pytest.raises(SpeechError, match="model's own 16000 Hz"):
        causal.stream(8000).snapshot()
