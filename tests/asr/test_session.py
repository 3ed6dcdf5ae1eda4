from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Event, Final, Partial, SpeechEnd, SpeechStart
from speech.asr.greedy import Token
from speech.asr.model import FastConformer
from speech.asr.recogniser import Recogniser
from speech.asr.session import Stream
from speech.asr.snapshot import HEADER
from speech.asr.tokenizer import SentencePiece
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from tests.asr.small import noise, small_model

RATE = 16000
QUICK = EndpointConfig(silence=0.32, longest=1.6)  # small, so that short signals have several utterances


@pytest.fixture(scope="module")
def recogniser(model: FastConformer, tokenizer: SentencePiece) -> Recogniser:
    return Recogniser(model, tokenizer, endpoint=QUICK)


def run(stream: Stream, pcm: np.ndarray, sizes: list[int]) -> list[Event]:
    """Push `pcm` in pieces of the given sizes, again and again, and flush."""
    events, at, turn = [], 0, 0
    while at < len(pcm):
        size = sizes[turn % len(sizes)]
        events += stream.push(pcm[at : at + size])
        at, turn = at + size, turn + 1
    return events + stream.flush()


def whole_tokens(recogniser: Recogniser, pcm: np.ndarray, look_ahead: int, decoder: str) -> list[Token]:
    """What one-shot encoding and decoding says."""
    setup = recogniser._setup(look_ahead, decoder)
    with torch.inference_mode():
        return setup.decoder.decode(setup.pipeline(Frames.whole(torch.from_numpy(pcm)[None])))[0]


def finals(events: list[Event]) -> list[Final]:
    return [e for e in events if isinstance(e, Final)]


def text(events: list[Event]) -> str:
    return " ".join(final.text for final in finals(events))


@pytest.mark.parametrize("decoder", ["ctc", "rnnt"])
@pytest.mark.parametrize("look_ahead", [160, 80, 0])
def test_a_stream_says_what_the_whole_signal_says(recogniser: Recogniser, look_ahead: int, decoder: str) -> None:
    for seed, samples in ((1, 52_341), (2, 41_001), (3, 160)):
        pcm = noise(samples / RATE, seed)
        tokens = whole_tokens(recogniser, pcm, look_ahead, decoder)
        events = run(recogniser.stream(RATE, look_ahead=look_ahead, decoder=decoder), pcm, [1000, 37, 4111])
        spoken = recogniser.tokenizer.decode([t.id for t in tokens])
        assert text(events).replace(" ", "") == spoken.replace(" ", "")
        assert samples == 160 or len(finals(events)) > 1
        starts = [word.start for final in finals(events) for word in final.words]
        assert starts == sorted(starts)
        assert set(starts) <= {min(round(t.frame * 0.08, 3), samples / RATE) for t in tokens}


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=4),
    seed=st.integers(0, 3),
    decoder=st.sampled_from(["ctc", "rnnt"]),
    look_ahead=st.sampled_from([160, 80, 0]),
)
def test_events_do_not_depend_on_how_samples_are_pushed_and_stay_stable(
    recogniser: Recogniser, sizes: list[int], seed: int, decoder: str, look_ahead: int
) -> None:
    pcm = noise(2.5, seed)
    stream = recogniser.stream(RATE, look_ahead=look_ahead, decoder=decoder)
    expected = run(stream, pcm, [len(pcm)])
    stream.reset()
    assert run(stream, pcm, [max(sizes[0], 50), *sizes]) == expected
    check_stable(expected)


def check_stable(events: list[Event]) -> None:
    """Every stable prefix returns in all that is said later about its utterance; starts and ends come in pairs."""
    promised, open_ = "", False
    for event in events:
        if isinstance(event, SpeechStart):
            assert not open_
            open_, promised = True, ""
        elif isinstance(event, SpeechEnd):
            assert open_
        elif isinstance(event, Partial):
            assert open_ and event.text.startswith(promised)
            assert event.text[: event.stable].count(" ") == max(event.text.count(" ") - 1, 0)
            assert len(promised) <= event.stable < len(event.text)
            promised = event.text[: event.stable]
        elif isinstance(event, Final):
            assert open_ and event.text.startswith(promised)
            assert event.start <= event.end and 0 < event.confidence <= 1
            open_ = False
    assert not open_


def test_the_tail_is_decoded_to_its_last_sample(recogniser: Recogniser) -> None:
    """However few samples the last chunk has, the frames that whole-signal encoding gives are all decoded."""
    for extra in (1, 159, 161, 1279, 1281):
        pcm = noise(1.0, 4)[: 12800 + extra]
        with torch.inference_mode():
            frames = recogniser.model.pipeline((6, 2)).total(len(pcm))
        stream = recogniser.stream(RATE, decoder="ctc")
        run(stream, pcm, [700])
        assert stream._driver.emitted == frames
        assert stream.duration == len(pcm) / RATE


def test_no_time_is_after_the_end(recogniser: Recogniser) -> None:
    for n in (16_001, 17_000, 19_300):
        stream = recogniser.stream(RATE, look_ahead=0)
        for final in finals(run(stream, noise(2.0, 5)[:n], [999])):
            assert final.end <= n / RATE


def test_another_sample_rate_is_resampled(recogniser: Recogniser) -> None:
    events = run(recogniser.stream(48_000), noise(2.0, 1, 48_000), [1000])
    assert finals(events) and finals(events)[-1].end <= 2.0


def test_int16_says_the_same(recogniser: Recogniser) -> None:
    pcm = (noise(1.5, 6) * 32768).astype(np.int16)
    expected = run(recogniser.stream(RATE), pcm.astype(np.float32) / 32768, [800])
    assert run(recogniser.stream(RATE), pcm, [800]) == expected


@pytest.mark.parametrize("decoder", ["ctc", "rnnt"])
def test_a_snapshot_goes_on_in_another_stream(recogniser: Recogniser, decoder: str) -> None:
    pcm = noise(2.5, 7)
    expected = run(recogniser.stream(RATE, decoder=decoder), pcm, [1111])
    stream = recogniser.stream(RATE, decoder=decoder)
    events: list[Event] = []
    for at in range(0, len(pcm), 1111):
        events += stream.push(pcm[at : at + 1111])
        data = stream.snapshot()
        stream.push(noise(0.3, 8))  # what comes after the snapshot must leave no trace in it
        stream = recogniser.stream(RATE, decoder=decoder)
        stream.restore(data)
    assert events + stream.flush() == expected


def test_a_snapshot_that_does_not_fit_is_refused(recogniser: Recogniser) -> None:
    data = recogniser.stream(RATE).snapshot()
    for wrong in (b"", b"x" * 100, data[:60], data[:-1]):
        with pytest.raises(SpeechError):
            recogniser.stream(RATE).restore(wrong)
    for other in (recogniser.stream(RATE, look_ahead=0), recogniser.stream(RATE, decoder="ctc")):
        with pytest.raises(SpeechError):
            other.restore(data)
    damaged = bytearray(data)
    damaged[HEADER.size + 2] ^= 0xFF
    with pytest.raises(SpeechError, match="damaged"):
        recogniser.stream(RATE).restore(bytes(damaged))
    with pytest.raises(SpeechError, match="44100 Hz"):
        recogniser.stream(44_100).snapshot()
    with pytest.raises(SpeechError, match="44100 Hz"):
        recogniser.stream(44_100).restore(data)


def test_streams_of_one_recogniser_do_not_disturb_each_other(recogniser: Recogniser) -> None:
    signals = [noise(2.0, seed) for seed in (1, 2, 3)]
    options = [(160, "rnnt"), (0, "ctc"), (160, "rnnt")]

    def opened() -> list[Stream]:
        return [recogniser.stream(RATE, look_ahead=ms, decoder=decoder) for ms, decoder in options]

    alone = [run(stream, x, [900]) for stream, x in zip(opened(), signals, strict=True)]
    streams = opened()
    together: list[list[Event]] = [[] for _ in streams]
    for at in range(0, len(signals[0]), 900):
        for stream, x, events in zip(streams, signals, together, strict=True):
            events += stream.push(x[at : at + 900])
    for stream, events in zip(streams, together, strict=True):
        events += stream.flush()
    assert together == alone


def test_memory_does_not_grow_with_the_stream(recogniser: Recogniser) -> None:
    stream = recogniser.stream(RATE)
    sizes = []
    for seed in range(8):
        stream.push(noise(12 * stream.setup.chunk / RATE, seed))
        sizes.append(len(stream.snapshot()))
    assert max(sizes) - min(sizes) < 4000  # the running utterance, which ends at the latest after 1.6 s and a word


def test_silence_says_nothing_much_and_empty_streams_say_nothing(recogniser: Recogniser) -> None:
    stream = recogniser.stream(RATE)
    assert stream.push(np.zeros(0, np.float32)) == [] and stream.flush() == []
    stream.reset()
    check_stable(run(stream, np.zeros(20_000, np.float32), [3000]))


@pytest.mark.parametrize(
    ("pcm", "says"),
    [
        (np.zeros(10), "float32 or int16"),
        ([0.0, 1.0], "float32 or int16"),
        (np.zeros((10, 2), np.float32), "mono"),
        (np.float32(1.0) * np.ones(()).astype(np.float32), "mono|numpy array"),
        (np.array([0.0, np.nan], np.float32), "NaN"),
        (np.array([0.0, np.inf], np.float32), "NaN"),
    ],
)
def test_wrong_samples_are_one_sentence(recogniser: Recogniser, pcm: np.ndarray, says: str) -> None:
    stream = recogniser.stream(RATE)
    with pytest.raises(SpeechError, match=says):
        stream.push(pcm)
    assert stream.duration == 0.0


def test_a_closed_or_flushed_stream_takes_no_samples(recogniser: Recogniser) -> None:
    with recogniser.stream(RATE) as stream:
        stream.flush()
        for call in (lambda: stream.push(np.zeros(5, np.float32)), stream.flush):
            with pytest.raises(SpeechError, match="flushed"):
                call()
        stream.reset()
        stream.push(np.zeros(5, np.float32))
    with pytest.raises(SpeechError, match="closed"):
        stream.push(np.zeros(5, np.float32))
    stream.close()


class Loudness:
    """A detector by level: sure of speech above an RMS of 0.02."""

    def __call__(self, window: np.ndarray) -> float:
        return float(np.sqrt(np.mean(window**2)) > 0.02)

    def reset(self) -> None:
        pass


def test_voice_is_marked_and_its_absence_ends_utterances(model: FastConformer, tokenizer: SentencePiece) -> None:
    patient = EndpointConfig(silence=60.0, longest=60.0, voice_silence=0.4, settle=0.08)
    recogniser = Recogniser(model, tokenizer, endpoint=patient)
    silence = np.zeros(RATE, np.float32)
    pcm = np.concatenate([noise(2.0, 1), silence, silence, noise(2.0, 2), silence])
    stream = recogniser.stream(RATE, decoder="ctc", voice=VoiceActivity(detector=Loudness()))
    events = run(stream, pcm, [len(pcm)])
    marks = [e for e in events if isinstance(e, SpeechStart | SpeechEnd)]
    assert [type(e) for e in marks] == [SpeechStart, SpeechEnd] * (len(marks) // 2) and len(marks) >= 4
    assert [e.time for e in marks] == sorted(e.time for e in marks) and 1.8 < marks[-1].time - 4 < 2.1
    assert len(finals(events)) >= 2 > len(finals(run(recogniser.stream(RATE, decoder="ctc"), pcm, [999])))
    stream.reset()
    assert run(stream, pcm, [1234, 77]) == events
    with pytest.raises(SpeechError, match="got Loudness: save streams without"):
        stream.snapshot()


class Heard(Loudness):
    """One whose state can be taken out: there is none."""

    def snapshot(self) -> None:
        return None

    def restore(self, data: None) -> None:
        assert data is None


def test_a_snapshot_knows_of_the_voice(recogniser: Recogniser) -> None:
    pcm = np.concatenate([noise(1.5, 1), np.zeros(RATE, np.float32), noise(1.0, 2), np.zeros(RATE // 2, np.float32)])

    def opened() -> Stream:
        return recogniser.stream(RATE, decoder="ctc", voice=VoiceActivity(detector=Heard()))

    expected, stream, events = run(opened(), pcm, [2222]), opened(), list[Event]()
    for at in range(0, len(pcm), 2222):
        events += stream.push(pcm[at : at + 2222])
        data, stream = stream.snapshot(), opened()
        stream.restore(data)
    assert events + stream.flush() == expected
    with pytest.raises(SpeechError, match="snapshot of Stream, got one of Stream watched by Heard"):
        recogniser.stream(RATE, decoder="ctc").restore(data)


def test_latency_is_that_of_the_look_ahead(recogniser: Recogniser) -> None:
    waits = [recogniser.stream(RATE, look_ahead=ms).latency for ms in (0, 80, 160)]
    assert waits == pytest.approx([0.0125, 0.0925, 0.1725], abs=1e-3)


def test_other_weights_say_other_things(tokenizer: SentencePiece) -> None:
    """The tests above would mean little for a model that says nothing, or always the same."""
    streams = [Recogniser(small_model(seed), tokenizer).stream(RATE) for seed in (1, 2)]
    said = {text(run(stream, noise(2.0, 1), [2000])) for stream in streams}
    assert len(said) == 2 and all(len(words) > 5 for words in said)
