"""The bundled recogniser in an engine: what is written does not depend on who else speaks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from speech.asr.events import Event, Final
from speech.asr.recogniser import Recogniser
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from speech.hub.load import load
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import Engine
from speech.streaming.frames import Frames
from speech.streaming.lane import Steps
from speech.streaming.module import Device, State
from tests.streaming.engine.small import Rig

DEMO = Path(__file__).resolve().parents[2] / "demo" / "demo.flac"
SECONDS, PIECE = 1.8, 320
QUICK = 80
"""The look-ahead beside the default one."""


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    found = load("asr")
    assert isinstance(found, Recogniser)
    return found


@cache
def _cut(index: int) -> np.ndarray:
    """Some seconds of the demo recording, from an offset of its own."""
    samples, rate = soundfile.read(DEMO, dtype="float32")
    begin = round((1.1 + 3.7 * index) * rate) + 97 * index
    return samples[begin : begin + round(SECONDS * rate)]


@pytest.fixture(scope="module")
def events(recogniser: Recogniser) -> dict[tuple[int, int | None], list[Event]]:
    """What each cut says by itself, by its number and the look-ahead."""
    found = {}
    for index, look_ahead in ((0, None), (1, None), (2, None), (3, None), (0, QUICK), (1, QUICK)):
        with recogniser.stream(16000, look_ahead=look_ahead) as stream:
            found[index, look_ahead] = stream.push(_cut(index)) + stream.flush()
    assert sum(isinstance(event, Final) for said in found.values() for event in said) >= 4
    return found


def _same(said: list[Event], expected: list[Event]) -> bool:
    """Whether these are the same events, texts and times exactly; probabilities are rounded otherwise in each batch."""
    told, known = ([_told(event) for event in events] for events in (said, expected))
    sure, meant = ([event.confidence for event in events if isinstance(event, Final)] for events in (said, expected))
    return told == known and np.allclose(sure, meant, atol=1e-3)


def _told(event: Event) -> object:
    if not isinstance(event, Final):
        return event
    return event.text, [(word.text, word.start, word.end) for word in event.words], event.start, event.end


@pytest.mark.parametrize("rows", [1, 2, 4, 8, 16])
def test_every_size_of_batch_gives_the_same_tokens(recogniser: Recogniser, events: dict, rows: int) -> None:
    rig = Rig(recogniser.host(rows), rows)
    sessions = [rig.open() for _ in range(rows)]
    for i, session in enumerate(sessions):
        session.push(_cut(i % 4))
        session.end()
    rig.settle()
    for i, session in enumerate(sessions):
        assert _same(session.poll(), events[i % 4, None])
    assert all(seen == count * rows for count, seen in rig.batches.values()) and rig.free == {rows}


def test_streams_of_two_look_aheads_and_many_phases_share_an_engine(recogniser: Recogniser, events: dict) -> None:
    config = EngineConfig(park_after=0.0)
    rig = Rig(recogniser.host(4, look_aheads=(480, QUICK)), 4, config)
    plan = [(0, None), (0, QUICK), (1, None), (1, QUICK)]
    sessions = {key: rig.open(look_ahead=key[1]) for key in plan}
    pieces = {key: _cut(key[0]) for key in plan}
    turn = np.random.default_rng(0)
    while any(map(len, pieces.values())):
        for key, session in sessions.items():  # each at a pace of its own
            piece, pieces[key] = np.split(pieces[key], [int(turn.integers(0, 8 * PIECE))])
            session.push(piece)
        while rig.step():
            pass
        idle = plan[int(turn.integers(4))]
        rig.scheduler.park(sessions[idle])
    for key, session in sessions.items():
        assert _same(rig.finished(session), events[key])
    assert set(rig.batches) == {"encoder", "decoder"} and rig.free == {4}


class Failing:
    """Steps that fail, state and all written, where one of the rows is of this slot."""

    def __init__(self, steps: Steps, slot: int) -> None:
        self.steps, self.slot = steps, slot

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return self.steps.init_state(slots, device, dtype)

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames | Sequence[Any]:
        out = self.steps.step(frames, state, slots)
        if self.slot in slots.tolist():
            raise RuntimeError("the step failed")
        return out


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_who_shares_a_batch_with_a_stream_whose_step_fails_does_not_notice(
    recogniser: Recogniser, events: dict, part: str
) -> None:
    host = recogniser.host(5)
    rig = Rig(host, 5)
    sessions = [rig.open() for _ in range(5)]
    for i, session in enumerate(sessions):
        session.push(_cut(i % 4)[: len(_cut(0)) // 2])
    rig.settle()
    seat = sessions[2].hosted.seats[("encoder", "decoder").index(part)]
    seat.lane.module = Failing(seat.lane.module, seat.slot)
    for i, session in enumerate(sessions):
        session.push(_cut(i % 4)[len(_cut(0)) // 2 :])
        session.end()
    rig.settle()
    with pytest.raises(RuntimeError, match="the step failed"):
        list(sessions[2])
    for i in (0, 1, 3, 4):
        assert _same(sessions[i].poll(), events[i % 4, None])
    counts = rig.scheduler.meter.counts
    assert (counts["failed"], counts["ended"]) == (1, 4) and counts["retried"] >= 2 and rig.free == {5}


def test_threads_and_bad_samples(recogniser: Recogniser, events: dict) -> None:
    with Engine(recogniser, 2, EngineConfig(most_load=1e9)) as engine, engine.open() as good, engine.open() as bad:
        for piece in np.split(_cut(0), range(PIECE, len(_cut(0)), PIECE)):
            good.push(piece)
            with pytest.raises(SpeechError, match="NaN"):
                bad.push(np.full(PIECE, np.nan, np.float32))
        bad.push(_cut(1))
        for session in (good, bad):
            session.end()
        assert _same(list(good), events[0, None]) and _same(list(bad), events[1, None])
        with pytest.raises(SpeechError, match="look-ahead of 480 ms"):
            engine.open(look_ahead=1040)
        with pytest.raises(SpeechError, match="sample rate"):
            engine.open(sample_rate=0)
        assert engine.stats().ended == 2


class Unready(VoiceActivity):
    """Could begin once, and cannot again."""

    def reset(self) -> None:
        if hasattr(self, "speaking"):
            raise OSError("no such detector")
        super().reset()


def test_a_watcher_that_cannot_begin_costs_no_slot(recogniser: Recogniser) -> None:
    with Engine(recogniser, 2) as engine:
        for _ in range(3):
            with pytest.raises(OSError, match="no such detector"):
                engine.open(voice=Unready())
            with pytest.raises(SpeechError, match="expected a VoiceActivity to watch for voice, got 'mine'"):
                engine.open(voice="mine")
        assert {step.lane.arena.free for step in engine.host.regular} == {2}
