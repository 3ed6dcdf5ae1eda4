"""Whispers that were not trained to stream: live by agreement of two looks, and whole recordings by windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from torch import Tensor

from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Partial
from speech.asr.whisper.longform import LongFormStream, Part, parts_of
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.search import Hypothesis
from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer
from speech.asr.whisper.window import AgreementStream, Look, Windows
from speech.streaming.frames import Frames
from speech.streaming.module import State
from tests.asr.whisper.test_whisper_stream import check, finals, run, said
from tests.asr.whisper.toy import FIRST, LETTERS, PERIOD, POSITIONS, RATE, counted, spelt, tones

PAUSE = [-1] * 4
SYMBOLS = Symbols(51864)


@pytest.fixture(scope="module")
def recogniser(window_counter: Whisper, letters: WhisperTokenizer) -> WhisperRecogniser:
    return WhisperRecogniser(window_counter, letters, chunk=300, endpoint=EndpointConfig(silence=0.6))


def test_looks_that_agree_lose_and_double_nothing(recogniser: WhisperRecogniser) -> None:
    """For 16 s without a pause, four windows; then a pause."""
    letters = counted(50)
    stream = recogniser.stream(RATE)
    assert isinstance(stream, AgreementStream)
    events = run(stream, tones([-1, *letters, *PAUSE, *counted(3)]))
    assert said(events) == f"{spelt(letters)} {spelt(counted(3))}"
    assert len(finals(events)) > 5
    check(events)
    times = [word.end for final in finals(events) for word in final.words][:50]
    assert np.abs(np.array(times) - [(1 + i) * PERIOD + 0.24 for i in range(50)]).max() < 0.6
    assert any(event.stable for event in events if isinstance(event, Partial))


def test_it_says_how_slow_it_is(recogniser: WhisperRecogniser) -> None:
    stream = recogniser.stream(RATE, chunk=500)
    assert stream.latency == 1.0
    assert "not trained for streaming" in stream.remark and "up to 1 s" in stream.remark


def test_looks_do_not_depend_on_how_samples_are_pushed(recogniser: WhisperRecogniser) -> None:
    pcm = tones([*PAUSE, *counted(9), *PAUSE])
    stream = recogniser.stream(RATE)
    expected = run(stream, pcm, (len(pcm),))
    assert said(expected) == spelt(counted(9))
    stream.reset()
    assert run(stream, pcm, (777, 6001)) == expected


def test_silence_is_not_looked_at(recogniser: WhisperRecogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Windows, "step", lambda *_: pytest.fail("silence was encoded"))
    for stream in (recogniser.stream(RATE), LongFormStream(recogniser._windows(recogniser.request), RATE)):
        for _ in range(6):
            assert stream.push(np.zeros(10 * RATE, np.float32)) == []
        assert stream.flush() == [] and stream.duration == 60.0
    transcript = recogniser.transcribe(np.zeros(10 * RATE, np.float32), RATE)
    assert (transcript.text, transcript.duration) == ("", 10.0)


@dataclass(frozen=True)
class Oracle(Windows):
    """Windows heard by pitch: letters whose tones lie whole in a window, in parts of three, as Whisper would write."""

    def step(self, frames: Frames, state: State, slots: Tensor) -> list[Look]:
        heard = [look.heard for look in super().step(frames, state, slots)]
        return [Look(y, self.said(x.numpy())) for y, x in zip(heard, frames.data, strict=True)]

    def said(self, samples: np.ndarray) -> Hypothesis:
        loud = np.abs(samples) > 0.05
        starts = [int(i) for i in np.flatnonzero(loud) if not loud[max(i - 800, 0) : i].any()]
        ends = [int(i) for i in np.flatnonzero(loud) if not loud[i + 1 : i + 801].any()]
        spans = [(a, b) for a, b in zip(starts, ends, strict=True) if b - a > 0.2 * RATE or b >= len(loud) - 800]
        cut = spans.pop()[0] if spans and spans[-1][1] >= len(loud) - 800 else None
        ids: list[int] = []
        for n, (a, b) in enumerate(spans):
            pitch = np.fft.rfftfreq(1 << 14, 1 / RATE)[np.abs(np.fft.rfft(samples[a:b], 1 << 14)).argmax()]
            letter = FIRST + round(np.log2(pitch / 300) / 0.22)
            times = SYMBOLS.times + a // 320, SYMBOLS.times + b // 320
            ids += [*([times[0]] if n % 3 == 0 else []), letter]
            if n % 3 == 2 or n == len(spans) - 1:
                ids.append(times[1])
        if cut is not None:  # begun, and to be heard whole in the next window
            ids.append(SYMBOLS.times + cut // 320)
        return Hypothesis(tuple(ids), (0,) * len(ids), (-0.1,) * len(ids), len(ids), True, -0.1, 0.0)


def test_whole_recordings_go_on_where_a_window_is_settled(recogniser: WhisperRecogniser) -> None:
    windows = recogniser._windows(recogniser.request)
    oracle = Oracle(windows.model, windows.pipeline, windows.request, windows.text, windows.endpoint)
    letters = [*counted(40), *[-1] * 30, *counted(20)]
    pcm = tones([-1, *letters, -1])
    expected = run(LongFormStream(oracle, RATE), pcm, (len(pcm),))
    assert said(expected) == f"{spelt(counted(40))} {spelt(counted(20))}"
    assert run(LongFormStream(oracle, RATE), pcm, (4000, 12345)) == expected
    spoken = [(1 + i) * PERIOD for i, letter in enumerate(letters) if letter >= 0]
    starts = [word.start for final in finals(expected) for word in final.words]
    assert np.abs(np.array(starts) - spoken).max() < 1.0  # somewhere in its part: three tones
    check(expected)


def test_parts_by_time_symbols() -> None:
    t = SYMBOLS.times

    def parts(*ids: int) -> tuple[list[Part], int]:
        return parts_of(ids, SYMBOLS, POSITIONS)

    assert parts(t, 1, 2, t + 50, t + 60, 3, t + 90, t + 90) == (
        [Part(0, 50, (1, 2)), Part(60, 90, (5,))],
        90,
    )  # what follows the last pair belongs to the next window
    assert parts(t, 1, t + 50, t + 60, 3, t + 90) == ([Part(0, 50, (1,)), Part(60, 90, (4,))], POSITIONS)
    assert parts(t, 1, t + 70) == ([Part(0, 70, (1,))], POSITIONS)
    assert parts(t, 1, 2) == ([Part(0, POSITIONS, (1, 2))], POSITIONS)
    assert parts() == ([Part(0, POSITIONS, ())], POSITIONS)
    assert parts_of((t, 1, t + 70, t + 70), SYMBOLS, 30) == ([Part(0, 30, (1,))], 30)


def test_a_random_model_transcribes_to_the_end(recogniser: WhisperRecogniser) -> None:
    """The counter was never taught time symbols: whatever it says, every window is done with."""
    transcript = recogniser.transcribe(tones([-1, *counted(LETTERS)]), RATE)
    assert transcript.duration == (LETTERS + 1) * PERIOD
    assert all(0 <= word.start <= word.end <= transcript.duration + 0.01 for word in transcript.words)
