"""Whispers beside one another in shared lanes: each says what it says alone, whoever shares its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Event, Final
from speech.asr.host import HostedStream
from speech.asr.whisper.host import WhisperHost
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.stream import WhisperStream
from speech.asr.whisper.tokenizer import WhisperTokenizer
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import Engine
from speech.streaming.lane import Call
from tests.asr.test_session import Loudness
from tests.asr.whisper.small import babble
from tests.asr.whisper.test_whisper_stream import run, said
from tests.asr.whisper.toy import LETTERS, RATE, counted, spelt, tones
from tests.streaming.rounds import together

QUICK = EndpointConfig(silence=0.6, voice_silence=0.4)
PAUSE = [-1] * 5
TEXTS = [
    [-1, *counted(22)],
    [*PAUSE, *counted(6), *PAUSE, *counted(5)],
    [*PAUSE, *counted(11)],
    [-1, *counted(9)],
]
SIZES = [1600, 2311, 4800, 800]


@pytest.fixture(scope="module")
def causal(causal_counter: Whisper, letters: WhisperTokenizer) -> WhisperRecogniser:
    return WhisperRecogniser(causal_counter, letters, endpoint=QUICK)


@pytest.fixture(scope="module")
def plain(window_counter: Whisper, letters: WhisperTokenizer) -> WhisperRecogniser:
    return WhisperRecogniser(window_counter, letters, chunk=300, endpoint=QUICK)


def in_rounds(
    streams: Sequence[HostedStream], signals: Sequence[np.ndarray], sizes: Sequence[int]
) -> list[list[Event]]:
    """Feed streams in pieces, one each a round, until all have ended. Two others are parked after every round, and come
    back into one another's slots.
    """
    at, turn, told = [0] * len(streams), 0, [[] for _ in streams]
    live = list(range(len(streams)))
    while live:
        askings = []
        for i in live:
            piece = signals[i][at[i] : at[i] + sizes[i]]
            at[i] += sizes[i]
            askings.append(streams[i].feeding(streams[i].taken(piece)) if len(piece) else streams[i].ending())
        for i, events in zip(live, together(askings), strict=True):
            told[i] += events
        live = [i for i in live if at[i] < len(signals[i]) + sizes[i]]
        moved = [streams[(turn + k) % len(streams)] for k in range(2)]
        for stream in moved:
            for seat in stream.seats:
                seat.park()
        for stream in reversed(moved):
            for seat in stream.seats:
                seat.unpark()
        turn += 1
    return told


def assert_same(found: Sequence[Event], expected: Sequence[Event]) -> None:
    """The same but for the rounding of log-probabilities."""

    def bare(event: Event) -> Event:
        if not isinstance(event, Final):
            return event
        return replace(event, confidence=0.0, words=tuple(replace(word, confidence=0.0) for word in event.words))

    assert [bare(event) for event in found] == [bare(event) for event in expected]
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Final) and isinstance(other, Final):
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


@pytest.mark.parametrize("beam", [0, 3])
def test_causal_streams_say_what_they_say_alone(causal: WhisperRecogniser, beam: int) -> None:
    """One without a pause that is cut, one with pauses, one whose voice is watched, one at another sample rate."""
    signals = [tones(letters, seed) for seed, letters in enumerate(TEXTS)]
    signals[3] = np.repeat(signals[3], 2)

    def options() -> list[dict]:
        return [{}, {}, {"voice": VoiceActivity(detector=Loudness())}, {"sample_rate": 2 * RATE}]

    alone = [
        run(causal.stream(o.pop("sample_rate", RATE), beam=beam, **o), pcm, (size,))
        for o, pcm, size in zip(options(), signals, SIZES, strict=True)
    ]
    assert all(said(events) for events in alone)
    host = causal.host(5, beam=beam)
    streams = [host.open(**o) for o in options()]
    for events, expected in zip(in_rounds(streams, signals, SIZES), alone, strict=True):
        assert_same(events, expected)
    check_room(host, streams, 5)


def check_room(host: WhisperHost, streams: Sequence[HostedStream], slots: int) -> None:
    """All seats come back."""
    lanes = {seat.lane for stream in streams for seat in stream.seats}
    assert lanes == {step.lane for step in host.regular}
    for stream in streams:
        stream.close()
        stream.close()
    assert all(lane.arena.free == slots for lane in lanes)


def test_languages_and_chunks_side_by_side(babbler: WhisperRecogniser) -> None:
    """Streams of several languages share their batches: each begins with its own symbols, one finds them out."""
    pcm = babble(16)
    options: list[dict] = [{"language": "en"}, {"language": "zh"}, {"language": "de"}, {"language": "de", "chunk": 40}]
    options.append({"language": "auto"})
    alone = [run(babbler.stream(RATE, **o), pcm, (2000,)) for o in options]
    assert len({repr(events) for events in alone}) == len(options)
    host = babbler.host(5, chunks=[80, 40])
    streams = [host.open(**o) for o in options]
    for events, expected in zip(in_rounds(streams, [pcm] * 5, [2000] * 5), alone, strict=True):
        assert_same(events, expected)
    assert [stream.stream.language for stream in streams[:4]] == ["en", "zh", "de", "de"]
    assert streams[4].stream.language not in (None, "auto")
    check_room(host, streams, 5)


def test_all_that_can_be_asked_at_once_in_an_engine(babbler: WhisperRecogniser) -> None:
    """Languages, tasks, prompts, chunks and sample rates of streams that share an engine: each as if alone."""
    options: list[dict] = [
        {"language": "en", "prompt": "Ada"},
        {"language": "de", "task": "translate"},
        {"language": "de", "task": "transcribe", "prompt": "Grace, Ada"},
        {"language": "zh", "chunk": 40, "prompt": "Ada"},
        {"language": "auto", "chunk": 40, "task": "translate"},
        {"language": "auto", "sample_rate": 2 * RATE},
    ]
    pcm = babble(16)
    signals = [np.repeat(pcm, o.get("sample_rate", RATE) // RATE) for o in options]
    alone = [
        run(babbler.stream(o.pop("sample_rate", RATE), **o), x, (1800,))
        for o, x in zip([dict(o) for o in options], signals, strict=True)
    ]
    assert len({repr(events) for events in alone}) == len(options)
    with Engine(babbler, len(options), EngineConfig(most_load=1e9), chunks=[80, 40]) as engine:
        sessions = [engine.open(**o) for o in options]
        for at in range(0, max(map(len, signals)), 2500):
            for session, x in zip(sessions, signals, strict=True):
                if len(piece := x[at : at + 2500]):
                    session.push(piece)
        for session in sessions:
            session.end()
        for session, expected in zip(sessions, alone, strict=True):
            assert_same(list(session), expected)


def test_looks_find_the_language_out(babbling_windows: WhisperRecogniser) -> None:
    """The same as alone, beside a stream that is told it."""
    signals = [babble(24, seed) for seed in range(3)]
    options: list[dict] = [{}, {"language": "de"}, {}]
    streams = [babbling_windows.stream(RATE, **o) for o in options]
    alone = [run(stream, pcm, (3200,)) for stream, pcm in zip(streams, signals, strict=True)]
    host = babbling_windows.host(3)
    hosted = [host.open(**o) for o in options]
    for events, expected in zip(in_rounds(hosted, signals, [3200] * 3), alone, strict=True):
        assert_same(events, expected)
    assert [stream.stream.language for stream in hosted] == [stream.language for stream in streams]
    check_room(host, hosted, 3)


def test_looks_of_several_streams(plain: WhisperRecogniser) -> None:
    """Whispers that were not trained to stream."""
    texts = [[-1, *counted(12)], [*PAUSE, *counted(5), *PAUSE]]
    signals = [tones(letters, seed) for seed, letters in enumerate(texts)]
    alone = [run(plain.stream(RATE), pcm, (1600,)) for pcm in signals]
    assert [said(events) for events in alone] == [spelt([n for n in letters if n >= 0]) for letters in texts]
    host = plain.host(3)
    streams = [host.open(), host.open()]
    for events, expected in zip(in_rounds(streams, signals, [1600, 4800]), alone, strict=True):
        assert_same(events, expected)
    assert streams[0].stream.remark
    check_room(host, streams, 3)


def test_a_stream_leaves_and_another_takes_its_seat(causal: WhisperRecogniser) -> None:
    """It begins as if nobody had been there, amid the other's text."""
    host = causal.host(2)
    pcm = tones([-1, *counted(LETTERS)])
    steady, leaving = host.open(), host.open()
    half = len(pcm) // 3200 * 1600
    told = together([stream.feeding(stream.taken(pcm[:half])) for stream in (steady, leaving)])[0]
    with pytest.raises(Full):
        host.open()
    leaving.close()
    coming = host.open()
    more, new = together([steady.feeding(steady.taken(pcm[half:])), coming.feeding(coming.taken(pcm))])
    rest, end = together([steady.ending(), coming.ending()])
    expected = run(causal.stream(RATE), pcm)
    assert said(expected) == spelt(counted(LETTERS))
    assert_same([*told, *more, *rest], expected)
    assert_same([*new, *end], expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chunk": 300}, "a chunk of 200 ms, got 300"),
        ({"language": "de"}, "an English model"),
        ({"task": "translate"}, "an English model"),
        ({"sample_rate": 1}, "a sample rate of 100"),
    ],
)
def test_what_is_refused_takes_no_seat(causal: WhisperRecogniser, options: dict, says: str) -> None:
    host = causal.host(1)
    with pytest.raises(SpeechError, match=says):
        host.open(**options)
    check_room(host, [host.open()], 1)
    with pytest.raises(SpeechError, match="trained for"):
        causal.host(1, chunks=[300])


def test_half_a_place_is_given_back(causal: WhisperRecogniser) -> None:
    setup = causal._setup(causal.request, causal.chunk)
    lanes = setup.lanes(1)
    seat = lanes.decoder.open()
    with pytest.raises(Full):
        WhisperStream(setup, RATE, lanes=lanes)
    assert lanes.encoder.arena.free == 1
    seat.close()
    WhisperStream(setup, RATE, lanes=lanes)


@pytest.mark.parametrize("kind", ["causal", "plain"])
def test_the_steps_that_it_foretells_can_be_taken(kind: str, request: pytest.FixtureRequest) -> None:
    host: WhisperHost = request.getfixturevalue(kind).host(2)
    assert host.seconds == {"causal": 0.2, "plain": 0.3}[kind] and host.backlog == 30 * RATE
    for step in host.regular:
        seats = [step.lane.open(), step.lane.open()]
        data = torch.zeros(step.count, *step.shape, dtype=step.dtype)
        assert len(step.lane.run([Call(seat, data, max(step.phase, 0), phase=step.phase) for seat in seats])) == 2
        assert step.per_second == pytest.approx(1 / host.seconds)
