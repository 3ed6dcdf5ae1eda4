"""When words are spoken by voices that read byte pairs: an aligner hears them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import speech
from benchmarks.tts.untrained import untrained
from speech.asr.model import FastConformer
from speech.asr.recogniser import Recogniser
from speech.errors import SpeechError
from speech.tts.reader import Reader, Reading
from speech.tts.session import Speech
from speech.tts.synthesiser import Synthesiser
from speech.tts.text.frontend import Piece
from tests.streaming.rounds import noted, together
from tests.tts.small import small_synthesiser

SENTENCES = ["He had a letter in his hand", "These words appear while the voice is still speaking", "Good morning"]
TEXT = '{}. {}.<break time="300ms"/> {}.'.format(*SENTENCES)


class Wordless:
    """A reader that does not say which ids are which word, as none of byte pairs does."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read(self, piece: Piece, before: int) -> Reading:
        return replace(self._reader.read(piece, before), words=[])


@pytest.fixture(scope="module")
def aligner() -> Recogniser:
    return speech.load("asr", "cpu")


@pytest.fixture(scope="module")
def pairs() -> Synthesiser:
    """A tiny model that reads bytes, and makes a noise."""
    return untrained("tiny")


def test_words_that_are_heard_are_where_the_voice_knows_them(aligner: Recogniser) -> None:
    voice = speech.load("tts", "cpu")
    known = voice.synthesize(TEXT, seed=2)
    voice.model.config = replace(voice.model.config, text="pairs")
    voice._setup = replace(voice._setup, reader=Wordless(voice.reader))
    with voice.stream(TEXT, seed=2, aligner=aligner) as stream:
        parts = list(stream)
    words = [word for part in parts for word in part.words]
    assert np.array_equal(np.concatenate([part.samples for part in parts]), known.samples)
    assert [word.text for word in words] == [word.text for word in known.words] == " ".join(SENTENCES).split()
    off = [abs(t) for a, b in zip(words, known.words, strict=True) for t in (a.start - b.start, a.end - b.end)]
    assert np.median(off) < 0.08 and np.quantile(off, 0.9) < 0.25
    assert [" ".join(word.text for word in part.words) for part in parts if part.words] == SENTENCES
    time = 0.0
    for part in parts:
        time += part.seconds
        assert all(time - 4.0 < word.end <= time for word in part.words[-1:])


def test_without_an_aligner_and_without_need_of_one(aligner: Recogniser, pairs: Synthesiser) -> None:
    assert pairs.synthesize("One two.", seed=1).words == ()
    small = small_synthesiser()
    known, also = (small.synthesize("Two people came.", seed=1, aligner=who) for who in (None, aligner))
    assert known.words == also.words != ()


def test_a_recogniser_that_cannot_align_is_told_of(aligner: Recogniser, pairs: Synthesiser) -> None:
    deaf = FastConformer(replace(aligner.model.config, ctc=False))
    with pytest.raises(SpeechError, match="a model with a CTC head"):
        pairs.stream("One two.", aligner=Recogniser(deaf, aligner.tokenizer))
    with pytest.raises(SpeechError, match="as aligner, got Synthesiser"):
        pairs.synthesize("One two.", aligner=pairs)  # type: ignore[arg-type]
    with pytest.raises(SpeechError, match="as aligner, got int"):
        small_synthesiser().host(1, 3)  # type: ignore[arg-type]


def test_words_are_told_once_and_alike_beside_other_streams(aligner: Recogniser, pairs: Synthesiser) -> None:
    texts = [
        "One two three. Four, five; twenty-one!",
        'Yes, we do.<break time="200ms"/> \u4f60\u597d and no.',
        "Quick one.",
    ]
    alone = [pairs.synthesize(text, seed=1, aligner=aligner) for text in texts]
    assert [word.text for word in alone[0].words] == "One two three Four five twenty one".split()
    assert [word.text for word in alone[1].words] == ["Yes", "we", "do", "\u4f60\u597d", "and", "no"]
    for sound in alone:
        times = [time for word in sound.words for time in (word.start, word.end)]
        assert times == sorted(times) and times[-1] <= sound.seconds
    assert alone[1].words[3].start >= 0.2 + alone[1].words[2].end
    host = pairs.host(len(texts), aligner)
    streams = [host.open(seed=1) for _ in texts]
    halves = [(text[: len(text) // 2], text[len(text) // 2 :]) for text in texts]
    said: list[list[Speech]] = [[] for _ in texts]
    for half in range(2):
        fed = together([stream.feeding(parts[half]) for stream, parts in zip(streams, halves, strict=True)])
        said = [a + b for a, b in zip(said, fed, strict=True)]
    said = [a + b for a, b in zip(said, together([stream.ending() for stream in streams]), strict=True)]
    for parts, sound, stream in zip(said, alone, streams, strict=True):
        words = tuple(word for part in parts for word in part.words)
        assert [w.text for w in words] == [w.text for w in sound.words]
        np.testing.assert_allclose([(w.start, w.end) for w in words], [(w.start, w.end) for w in sound.words], atol=0.2)
        stream.close()
    assert streams[0].seats == []


def test_an_engine_counts_what_listening_takes(aligner: Recogniser, pairs: Synthesiser) -> None:
    plain, host = pairs.host(1), pairs.host(1, aligner)
    *usual, step = host.regular
    assert step.name == "aligner" and [s.name for s in usual] == [s.name for s in plain.regular]
    stream, calls = host.open(seed=1), []
    assert step.lane in {seat.lane for seat in stream.seats}
    for asking in (stream.feeding("One two three. Four, five; twenty-one!"), stream.ending()):
        together([noted(asking, calls)])
    listening = [call for call in calls if call.seat.lane is step.lane]
    assert {(len(c.data), c.phase, tuple(c.data.shape[1:]), c.data.dtype) for c in listening} == {
        (step.count, step.phase, step.shape, step.dtype)
    }
    assert len(listening) == pytest.approx(step.per_second * stream.lead, abs=2)  # and what flushes it at the end
    stream.close()
