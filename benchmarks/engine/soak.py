"""A long day of an engine: visitors come, speak, pause, leave early or die, and nothing may get lost."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.engine.people import attend, recording
from benchmarks.measure import Result
from benchmarks.transcribe import resident
from speech.asr.events import Event, Final
from speech.asr.recogniser import Recogniser
from speech.audio.vad import VoiceActivity, VoiceMark
from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import Engine
from speech.streaming.engine.session import Session

PIECE = 0.02  # seconds
SOURCES = ((0.0, 6.0), (2.3, 4.1), (5.0, 9.0), (7.7, 0.5), (9.1, 7.3), (11.0, 3.0), (13.4, 0.0), (0.9, 15.5))
"""Beginnings and lengths in seconds of what is said; who ends early says a short one."""

PARK = 2.0  # seconds without input after which a slot may be given away
PAUSE, LEAVE, BAD = 0.002, 0.0005, 0.002
"""How likely it is that a visitor, with each piece, begins to pause, leaves, or sends what is no sound."""

DOOMED = 0.1
"""How likely it is that a stream will die in the engine."""


@dataclass(frozen=True)
class Source:
    """What a visitor says: samples [n], and the utterances that are written of it alone."""

    samples: np.ndarray
    expected: list[object]


class Doom(VoiceActivity):
    """Watches for voice until it fails, which must end its stream, and no other."""

    def __init__(self, samples: int) -> None:
        self._left = samples

    def reset(self) -> None:
        pass

    def push(self, x: np.ndarray) -> list[VoiceMark]:
        self._left -= len(x)
        if self._left < 0:
            raise RuntimeError("doomed")
        return []

    def flush(self) -> list[VoiceMark]:
        return []


class Visitor:
    """One place in the queue: visitors take it one after another. `counts`: what became of them, for all."""

    def __init__(self, engine: Engine, sources: list[Source], rate: int, counts: Counter[str], seed: int) -> None:
        self.engine, self.sources, self.rate, self.counts = engine, sources, rate, counts
        self.random = np.random.default_rng(seed)
        self.session: Session | None = None
        self.closing = False  # nobody comes any more
        self._source, self._at, self._heard, self._doomed = sources[0], 0, list[Event](), False

    def turn(self, due: float) -> float:
        if self.session is None:
            return math.inf if self.closing else self._come(due)
        try:
            self._heard += self.session.poll()
            if not self.session.done and self._at < len(self._source.samples):
                return self._speak(self.session, due)
            self.session.end()
            if self.session.done:
                self._heard += self.session.poll()  # what came in between
                self.counts["lost"] += told(self._heard) != self._source.expected and not self._doomed
                self._go("finished")
        except RuntimeError:
            self._go("died")
        return due + PIECE

    def _come(self, due: float) -> float:
        self._doomed = self.random.random() < DOOMED
        voice = Doom(int(self.random.integers(self.rate, 8 * self.rate))) if self._doomed else None
        try:
            self.session = self.engine.open(sample_rate=self.rate, voice=voice)
        except Full as full:
            self.counts["refused"] += 1
            return due + min(full.retry_after or 1.0, 1.0)
        self.counts["opened"] += 1
        self._source, self._at = self.sources[self.random.integers(len(self.sources))], 0
        self._heard = []
        return due + PIECE

    def _speak(self, session: Session, due: float) -> float:
        what = self.random.random()
        if what < LEAVE:
            self._go("left")
            return due + PIECE
        if what < LEAVE + BAD:
            self._send_nonsense(session)
        piece = round(PIECE * self.rate)
        session.push(self._source.samples[self._at : self._at + piece])
        self._at += piece
        if what > 1 - PAUSE:
            self.counts["paused"] += 1
            return due + PARK + 3 * self.random.random()
        return due + PIECE

    def _send_nonsense(self, session: Session) -> None:
        """Push what must be refused; the stream goes on as if nothing had come."""
        try:
            session.push(np.full(4, np.nan, np.float32))
        except SpeechError:
            self.counts["nonsense refused"] += 1

    def _go(self, how: str) -> None:
        assert self.session is not None
        self.counts[how] += 1
        self.session.close()
        self.session = None


def soak(
    recogniser: Recogniser, visitors: int, slots: int, seconds: float, threads: int, look_ahead: int | None
) -> Iterator[Result]:
    """So many visitors at a time for so long, in `slots` slots; everyone may finish at the end."""
    rate = recogniser.sample_rate
    sources, counts = said(recogniser, look_ahead), Counter[str]()
    config = EngineConfig(park_after=PARK, most_load=float("inf"))
    memory, parked = [resident()], []
    options = {} if look_ahead is None else {"look_aheads": (look_ahead,)}
    with Engine(recogniser, slots, config, **options) as engine:
        people = [Visitor(engine, sources, rate, counts, seed) for seed in range(visitors)]

        def watch() -> None:
            memory.append(resident())
            parked.append(engine.stats().parked)

        deque(attend(people, seconds, 1.0, watch), 0)
        for person in people:
            person.closing = True
        while any(person.session for person in people):
            deque(attend([person for person in people if person.session], 1.0, PIECE, watch), 0)
        while engine.stats().sessions:
            time.sleep(0.01)
        free, stats = min(step.lane.arena.free for step in engine.host.regular), engine.stats()
    case = f"soak, {seconds / 60:.3g} minutes, {visitors} visitors in {slots} slots"
    told_of = ("opened", "finished", "lost", "left", "died", "paused", "refused", "nonsense refused")
    values = {name: counts[name] for name in told_of}
    values |= {"died unasked": stats.failed - counts["died"], "slots lost": slots - free}
    values |= {"parked at once": max(parked, default=0), "inputs": stats.inputs, "inputs late": stats.misses}
    for name, value in values.items():
        yield Result(f"{case}: {name}", "value", value, "", 1, threads)
    for tenth in range(11):
        found = memory[round(tenth / 10 * (len(memory) - 1))]
        yield Result(f"{case}: after {tenth} tenths", "memory", found / 2**20, "MiB", 1, threads)


def said(recogniser: Recogniser, look_ahead: int | None) -> list[Source]:
    """Everything that visitors may say, and what is written of it by a stream of its own."""
    rate, found = recogniser.sample_rate, []
    x = recording(rate)
    for begin, length in SOURCES:
        samples = x[round(begin * rate) : round((begin + length) * rate)]
        with recogniser.stream(rate, look_ahead=look_ahead) as stream:
            found.append(Source(samples, told(stream.push(samples) + stream.flush())))
    return found


def told(events: list[Event]) -> list[object]:
    """What must be the same whoever shares the batches: all but probabilities, which they round in their own way."""
    return [
        (event.text, [(word.text, word.start, word.end) for word in event.words]) if isinstance(event, Final) else event
        for event in events
    ]
