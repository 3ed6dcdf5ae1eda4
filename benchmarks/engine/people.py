"""Those who use an engine in a benchmark, all in one thread: each has a turn when it is due."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from speech.asr.recogniser import Recogniser
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.audio.file import read
from speech.streaming.engine.engine import Engine
from speech.streaming.engine.session import Backlog, Session
from speech.tts.synthesiser import Synthesiser
from speech.vc.converter import Converter

Model = Recogniser | WhisperRecogniser | Converter | Synthesiser

DEMO = Path(__file__).resolve().parents[2] / "demo" / "demo.flac"
SENTENCES = (
    "Good morning, and welcome to this short recording. ",
    "The old man walked slowly down the road to the village. ",
    "He had a letter in his hand, and he did not know what to say. ",
    "These words appear while the voice is still speaking. ",
)
AHEAD = 3.0  # seconds of sound that a listener wants to have before more text is given
LASTS = 2.0  # seconds of a sentence at least
LOOK = 0.02  # seconds after which a listener looks again
AT_ONCE = 64  # sessions that are opened at the same time


class Person(Protocol):
    """Who has turns."""

    def turn(self, due: float) -> float:
        """Do what was due at that time (`time.monotonic`); when the next turn is."""
        ...


class Speaker:
    """Speaks in real time: pushes a piece when its last sample has been spoken, and takes the results.

    samples: [n], over and over, from the sample `at` on; piece: samples of one push, period: its seconds.
    """

    def __init__(self, session: Session, samples: np.ndarray, at: int, piece: int, period: float) -> None:
        self.session, self.samples, self.at, self.piece, self.period = session, samples, at, piece, period
        self.refused = 0

    def turn(self, due: float) -> float:
        self.at = (self.at + self.piece) % (len(self.samples) - self.piece)
        try:
            self.session.push(self.samples[self.at : self.at + self.piece])
        except Backlog:
            self.refused += 1
        self.session.poll()
        return due + self.period


class Listener:
    """Gives text, and listens from the first sound on; more text comes before the sound is over.

    sentence: which one comes first. waited: seconds until the first sound. gaps: how often there was none to hear.
    """

    def __init__(self, session: Session, sentence: int) -> None:
        self.session, self.sentence = session, sentence
        self.waited: float | None = None
        self.gaps, self._said, self._given, self._asked, self._begun, self._starved = 0, 0, 0.0, 0.0, 0.0, False

    def turn(self, due: float) -> float:
        found, now = self.session.poll(), time.monotonic()
        if not self._asked:
            self._say(now)
        if found and self.waited is None:
            self.waited, self._begun = now - self._asked, now
        self._given += sum(speech.seconds for speech in found)
        if self.waited is not None:
            left = self._given - (now - self._begun)
            self.gaps += left < 0 and not self._starved
            self._starved = left < 0
            if left < AHEAD and self._said * LASTS < self._given + AHEAD:
                self._say(now)
        return due + LOOK

    def _say(self, now: float) -> None:
        self._asked = self._asked or now
        self.session.push(SENTENCES[(self.sentence + self._said) % len(SENTENCES)])
        self._said += 1


def gathered(engine: Engine, model: Model, count: int, period: float) -> list[Speaker] | list[Listener]:
    """So many people, each with a session. period: seconds of a push."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        if isinstance(model, Synthesiser):
            return [Listener(session, i) for i, session in enumerate(pool.map(lambda _: engine.open(), range(count)))]
        rate = model.sample_rate
        sessions = [*pool.map(lambda _: engine.open(sample_rate=rate), range(count))]
    samples, piece = recording(rate), round(period * rate)
    starts = np.random.default_rng(0).integers(0, len(samples) - piece, count)
    return [Speaker(session, samples, int(at), piece, period) for session, at in zip(sessions, starts, strict=True)]


def recording(rate: int) -> np.ndarray:
    """The demo recording at a rate in Hz: [n]."""
    from speech.audio.resample import Resampler

    audio = read(DEMO)
    resampler = Resampler(audio.sample_rate, rate)
    return np.concatenate([resampler.push(audio.samples), resampler.flush()])


def attend(people: Sequence[Person], seconds: float, spread: float, watch: Callable[[], None]) -> Iterator[float]:
    """Give all their turns for so many seconds, the first ones at random moments of the first `spread` seconds.

    watch: is called every second. Yields how late each turn was, in seconds: what is measured counts only where this
    is small. Who wants to know is to keep them: over a long time they would take more memory than an engine does.
    """
    begin = time.monotonic()
    firsts = begin + spread * np.random.default_rng(1).random(len(people))
    turns: list[tuple[float, int]] = [(float(first), i) for i, first in enumerate(firsts)]
    heapq.heapify(turns)
    next_watch = begin + 1.0
    while turns[0][0] < begin + seconds:
        due, i = turns[0]
        ahead = due - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        yield max(-ahead, 0.0)
        heapq.heapreplace(turns, (people[i].turn(due), i))
        if due > next_watch:
            watch()
            next_watch = due + 1.0
