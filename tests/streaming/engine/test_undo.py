"""Steps that fail after they wrote state: those whose fault it is break off, the others give what they give alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.streaming.arena import Arena
from speech.streaming.conv import Conv1d
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.session import Session
from speech.streaming.engine.undo import Undo
from speech.streaming.frames import Frames
from speech.streaming.module import Pointwise, Sequential, State
from speech.streaming.recurrent import LSTM
from tests.streaming.engine.small import FATAL, Fragile, Kind, Rig, SmallHost

BIG = 1e3 * FATAL  # what the layers before the fragile one leave of it is still too large


class Crowded(Pointwise):
    """A layer whose step finds room for so many rows only, as one that runs out of memory does."""

    def __init__(self, most: int) -> None:
        super().__init__(torch.nn.Identity())
        self.most = most

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        if len(slots) > self.most:
            raise MemoryError("no room for so many rows")
        return super().step(frames, state, slots)


def _kind(weak: Pointwise) -> Kind:
    """Layers with state, and amid them one that fails when others have written theirs."""
    torch.manual_seed(0)
    return Kind(Sequential(one=Conv1d(3, 3, 4), two=Conv1d(3, 3, 2), weak=weak, lstm=LSTM(3, 5)).eval(), 2, (3,))


def _rig(kind: Kind, slots: int, *, undo: int = 2**20, padded: bool = False) -> Rig:
    return Rig(SmallHost(slots, [kind], padded=padded), slots, EngineConfig(undo=undo))


def _begun(rig: Rig, kind: Kind, count: int) -> list[tuple[Session, Tensor, list[Tensor]]]:
    """Sessions that have state, what each will say, and what each has given."""
    found = []
    for i in range(count):
        session, x = rig.open(), kind.noise(14, i)
        session.push(x[:4])
        found.append((session, x, []))
    rig.settle()
    for session, _, got in found:
        got += session.poll()
    return found


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 9), bad=st.sets(st.integers(0, 8), max_size=3), padded=st.booleans())
@example(count=9, bad={8}, padded=False)
def test_those_whose_fault_it_is_break_off_and_the_others_give_what_they_give_alone(
    count: int, bad: set[int], padded: bool
) -> None:
    kind = _kind(Fragile(torch.nn.Tanh()))
    rig = _rig(kind, 9, padded=padded)
    streams = _begun(rig, kind, count)
    for i, (session, x, _) in enumerate(streams):
        session.push(torch.full((2, 3), BIG) if i in bad else x[4:9])
    rig.settle()
    for i, (session, x, got) in enumerate(streams):
        if i in bad:
            with pytest.raises(RuntimeError, match="the step failed"):
                session.poll()
            continue
        session.push(x[9:])
        torch.testing.assert_close(torch.cat(got + rig.finished(session)), kind.alone([x]), rtol=1e-5, atol=1e-5)
    counts = rig.scheduler.meter.counts
    guilty = len([i for i in bad if i < count])
    assert (counts["failed"], counts["ended"]) == (guilty, count - guilty) and rig.free == {9}
    together = min(count, rig.scheduler.most)  # a ninth stream steps alone
    assert (counts["retried"] > 0) == (together > 1 and any(i < together for i in bad))


def test_a_batch_that_finds_no_room_goes_in_parts() -> None:
    weak = Crowded(7)
    kind = _kind(weak)
    rig = _rig(kind, 7)
    streams = _begun(rig, kind, 7)
    weak.most = 2
    for session, x, _ in streams:
        session.push(x[4:])
    for session, x, got in streams:
        torch.testing.assert_close(torch.cat(got + rig.finished(session)), kind.alone([x]), rtol=1e-5, atol=1e-5)
    counts = rig.scheduler.meter.counts
    assert counts["failed"] == 0 < counts["retried"]


def test_what_hits_everyone_ends_everyone() -> None:
    weak = Crowded(4)
    kind = _kind(weak)
    rig = _rig(kind, 4)
    streams = _begun(rig, kind, 4)
    weak.most = 0
    for session, x, _ in streams:
        session.push(x[4:])
    rig.settle()
    for session, *_ in streams:
        with pytest.raises(MemoryError, match="no room"):
            session.poll()
    assert rig.free == {4} and rig.scheduler.meter.counts["failed"] == 4


def test_without_room_for_the_state_no_stream_goes_on_from_what_a_failed_step_wrote() -> None:
    """The convolution has taken the chunk in when the step fails: to step again would put it there twice."""
    kind = _kind(Fragile(torch.nn.Tanh()))
    rig = _rig(kind, 3, undo=0)
    (apart, x, got), (good, y, _), (bad, _, _) = _begun(rig, kind, 3)
    good.push(y[4:])
    bad.push(torch.full((2, 3), BIG))
    rig.settle()
    for session in (good, bad):
        with pytest.raises(RuntimeError, match="the step failed"):
            session.poll()
    apart.push(x[4:])
    torch.testing.assert_close(torch.cat(got + rig.finished(apart)), kind.alone([x]))
    assert rig.free == {3} and rig.scheduler.meter.counts["retried"] == 0


def test_the_state_of_a_batch_is_put_back_and_no_other() -> None:
    small, large = (Arena({"a": torch.zeros(1, n)}, 5) for n in (3, 700))
    for arena in (small, large):
        arena.buffer.copy_(torch.randint(256, arena.buffer.shape))
    undo = Undo([small, large], 3, 3 * large.bytes)
    for arena in (large, small, large):
        before = arena.buffer.clone()
        put_back = undo.keep(arena, [4, 0, 3])
        arena.buffer += 1
        assert put_back
        put_back()
        slots = torch.tensor([0, 3, 4])
        torch.testing.assert_close(arena.buffer[slots], before[slots])
        assert (arena.buffer[1:3] != before[1:3]).all()
    assert undo.keep(large, [0, 1, 2, 3]) is None
    assert Undo([small, large], 9, 2 * large.bytes).keep(large, [0, 1, 2]) is None
    assert Undo([large], 9, 0).keep(large, [0]) is None
