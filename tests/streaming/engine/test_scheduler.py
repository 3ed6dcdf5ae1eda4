"""Who steps when, with whom, and in which slot: a scheduler without its thread."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.session import Session
from tests.streaming.engine.small import (
    ATTENTION,
    BROKEN,
    FATAL,
    FRAGILE,
    FRONT,
    LSTM,
    UNFIT,
    Kind,
    Rig,
    SmallHost,
)

NEVER = EngineConfig(park_after=1e6)
AT_ONCE = EngineConfig(park_after=0.0)


def _rig(*kinds: Kind, slots: int = 4, config: EngineConfig = NEVER, padded: bool = False) -> Rig:
    return Rig(SmallHost(slots, kinds or (FRONT,), padded=padded), slots, config)


def _joined(found: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(found)


# the order of steps


def test_the_stream_that_is_due_first_takes_along_those_of_its_kind() -> None:
    rig = _rig(FRONT, LSTM)
    late, early, alike = rig.open(kind=0), rig.open(kind=1), rig.open(kind=1)
    for session, kind in ((early, LSTM), (late, FRONT), (alike, LSTM)):
        session.push(kind.noise(kind.chunk))
    assert rig.step() and rig.batches == {"kind 1": (1, 2)}
    assert rig.step() and rig.batches == {"kind 0": (1, 1), "kind 1": (1, 2)}
    assert not rig.step()


@pytest.mark.parametrize("sizes", [(1,), (1, 2), (1, 2, 4), (1, 2, 4, 8)])
def test_batches_are_no_larger_than_the_largest_bucket(sizes: tuple[int, ...]) -> None:
    rig = _rig(LSTM, slots=5, config=EngineConfig(buckets=sizes))
    sessions = [rig.open() for _ in range(5)]
    for i, session in enumerate(sessions):
        session.push(LSTM.noise(6, i))
    rig.settle()
    most = max(size for size in sizes if size <= 5)
    assert rig.batches == {"kind 0": (2 * -(-5 // most), 10)}
    for i, session in enumerate(sessions):
        torch.testing.assert_close(_joined(rig.finished(session)), LSTM.alone([LSTM.noise(6, i)]))


def test_who_is_given_a_recording_at_once_comes_behind_those_that_are_live() -> None:
    rig = _rig(FRONT, LSTM)
    recording, live = rig.open(kind=0), rig.open(kind=1)
    recording.push(FRONT.noise(20 * FRONT.chunk))
    time.sleep(2.1 * rig.host.seconds)
    live.push(LSTM.noise(LSTM.chunk))
    assert rig.step() and rig.batches == {"kind 1": (1, 1)}


def test_a_listener_who_has_much_to_hear_can_wait() -> None:
    rig = _rig(FRONT, LSTM)
    ahead, behind = rig.open(kind=0, lead=10.0), rig.open(kind=1, lead=0.2)
    for session, kind in ((ahead, FRONT), (behind, LSTM)):
        session.push(kind.noise(kind.chunk))
    rig.settle()  # both have begun to give
    for session, kind in ((ahead, FRONT), (behind, LSTM)):
        session.push(kind.noise(kind.chunk))
    rig.step()
    assert rig.batches == {"kind 0": (1, 1), "kind 1": (2, 2)}


def test_results_come_in_order_and_wait_for_who_takes_them() -> None:
    rig = _rig(LSTM, config=EngineConfig(results=3))
    slow, other = rig.open(), rig.open()
    x = LSTM.noise(10 * LSTM.chunk)
    for session in (slow, other):
        for piece in x.split(LSTM.chunk):
            session.push(piece)
    rig.settle()
    assert slow.buffered == 7 * LSTM.chunk and slow.clogged
    out = [slow.poll(1)[0], slow.poll(1)[0]]
    rig.settle()
    assert slow.buffered == 5 * LSTM.chunk
    torch.testing.assert_close(_joined(out + rig.finished(slow)), LSTM.alone([x]))
    torch.testing.assert_close(_joined(rig.finished(other)), LSTM.alone([x]))


# streams that break off


def test_an_input_that_is_not_fit_is_refused_and_the_stream_goes_on() -> None:
    rig = _rig(FRAGILE)
    session, x = rig.open(), FRAGILE.noise(6)
    session.push(x[:3])
    with pytest.raises(SpeechError, match="NaN"):
        session.push(torch.full((2, 3), UNFIT))
    session.push(x[3:])
    torch.testing.assert_close(_joined(rig.finished(session)), x.tanh())


@pytest.mark.parametrize(("poison", "error"), [(BROKEN, ValueError), (FATAL, RuntimeError)])
def test_a_stream_that_breaks_does_so_alone(poison: float, error: type[Exception]) -> None:
    rig = _rig(FRAGILE)
    sessions = [rig.open() for _ in range(4)]
    x = [FRAGILE.noise(12, i) for i in range(4)]
    for half in (slice(0, 6), slice(6, 12)):
        for i, session in enumerate(sessions):
            session.push(torch.full((2, 3), poison) if (i, half.start) == (2, 6) else x[i][half])
        rig.settle()
    assert sessions[2].done and rig.free == {1}
    torch.testing.assert_close(_joined(sessions[2].poll()), x[2][:6].tanh())
    for _ in range(2):  # it says so as often as it is asked, behind the results that came before
        with pytest.raises(error, match=r"broke|failed"):
            sessions[2].poll()
    with pytest.raises(error):
        sessions[2].push(x[2])
    for i in (0, 1, 3):
        torch.testing.assert_close(_joined(rig.finished(sessions[i])), x[i].tanh())
    counts = rig.scheduler.meter.counts
    assert (counts["opened"], counts["ended"], counts["failed"]) == (4, 3, 1) and rig.free == {4}


def test_a_stream_that_does_not_close_well_harms_no_other() -> None:
    rig = _rig(LSTM)
    stubborn, other = rig.open(stubborn=True), rig.open()
    for session in (stubborn, other):
        session.push(LSTM.noise(LSTM.chunk))
    with pytest.raises(OSError, match="close well"):
        rig.finished(stubborn)
    torch.testing.assert_close(_joined(rig.finished(other)), LSTM.alone([LSTM.noise(LSTM.chunk)]))
    assert rig.free == {4} and rig.scheduler.meter.counts["failed"] == 1


def test_a_session_closed_while_it_waits_for_a_step_leaves_the_batch() -> None:
    rig = _rig(LSTM)
    leaving, staying = rig.open(), rig.open()
    for session in (leaving, staying):
        session.push(LSTM.noise(LSTM.chunk))
    rig.scheduler.gather()
    assert rig.scheduler.asking == 2
    leaving.close()
    rig.settle()
    assert rig.batches == {"kind 0": (1, 1)} and rig.free == {3} and not leaving.poll()
    torch.testing.assert_close(_joined(rig.finished(staying)), LSTM.alone([LSTM.noise(LSTM.chunk)]))


# slots


def test_a_parked_stream_goes_on_in_another_slot() -> None:
    rig = _rig(LSTM, slots=2)
    session, x = rig.open(), LSTM.noise(5 * LSTM.chunk)
    session.push(x[:7])
    rig.settle()
    rig.scheduler.park(session)
    assert rig.scheduler.parked == 1 and rig.free == {2}
    other = rig.open()  # takes the slot that was just left
    other.push(LSTM.noise(LSTM.chunk, 1))
    rig.settle()
    session.push(x[7:])
    torch.testing.assert_close(_joined(rig.finished(session)), LSTM.alone([x]))
    torch.testing.assert_close(_joined(rig.finished(other)), LSTM.alone([LSTM.noise(LSTM.chunk, 1)]))
    assert rig.free == {2}


def test_a_stream_with_input_is_not_parked() -> None:
    rig = _rig(LSTM)
    session = rig.open()
    session.push(LSTM.noise(LSTM.chunk))
    with pytest.raises(SpeechError, match="has input"):
        rig.scheduler.park(session)
    rig.scheduler.gather()  # its step is asked for
    with pytest.raises(SpeechError, match="has input"):
        rig.scheduler.park(session)
    rig.settle()
    rig.scheduler.park(session)
    rig.scheduler.park(session)  # it stays so
    session.close()
    rig.settle()
    assert rig.free == {4}
    with pytest.raises(SpeechError, match="is over"):
        rig.scheduler.park(session)


def test_the_longest_idle_stream_makes_room() -> None:
    rig = _rig(LSTM, slots=2, config=AT_ONCE)
    sessions, x = [rig.open(), rig.open()], LSTM.noise(2 * LSTM.chunk)
    for session in reversed(sessions):
        session.push(x[:4])
        rig.settle()
    newcomer = rig.open()  # the second one was fed first
    assert [any(seat.parked for seat in s.hosted.seats) for s in sessions] == [False, True]
    for session in (newcomer, *sessions):  # three take turns in two slots
        session.push(x[:4] if session is newcomer else x[4:])
        rig.settle()
    newcomer.push(x[4:])
    for session in (newcomer, *sessions):
        torch.testing.assert_close(_joined(rig.finished(session)), LSTM.alone([x]))
    assert rig.free == {2}


def test_who_is_busy_or_was_so_just_now_makes_no_room() -> None:
    rig = _rig(LSTM, slots=1)
    session = rig.open()
    with pytest.raises(Full, match="all 1 are in use"):
        rig.open()
    session.push(LSTM.noise(LSTM.chunk))
    rig.settle()
    with pytest.raises(Full):
        rig.open()


def test_a_stream_that_is_shut_out_gets_its_turn_before_newcomers() -> None:
    rig = _rig(LSTM, slots=1)
    x = LSTM.noise(6 * LSTM.chunk)
    first = rig.open()
    first.push(x[:4])
    rig.settle()
    rig.scheduler.park(first)
    second = rig.open()
    for piece in x[4:].split(2):  # however often it asks
        first.push(piece)
        rig.settle()
    assert not first.done and first.buffered == len(x) - 4
    rig.scheduler.park(second)
    with pytest.raises(Full):  # the free slot is the first one's
        rig.open()
    torch.testing.assert_close(_joined(rig.finished(first)), LSTM.alone([x]))
    second.push(x)
    torch.testing.assert_close(_joined(rig.finished(second)), LSTM.alone([x]))
    assert rig.free == {1}


def test_a_stream_may_be_closed_while_it_is_shut_out() -> None:
    rig = _rig(LSTM, slots=1)
    first = rig.open()
    rig.scheduler.park(first)
    second = rig.open()
    first.push(LSTM.noise(LSTM.chunk))
    rig.settle()
    first.close()
    rig.settle()
    assert list(rig.scheduler.streams) == [second] and rig.free == {0}
    rig.finished(second)
    assert rig.free == {1}


def test_a_stream_that_was_shut_out_waits_for_its_answer() -> None:
    rig = _rig(LSTM, slots=2)
    x = LSTM.noise(4 * LSTM.chunk)
    first = rig.open()
    rig.scheduler.park(first)
    others = [rig.open(), rig.open()]
    first.push(x[: LSTM.chunk])
    rig.settle()
    for other in others:
        other.close()
    first.push(x[LSTM.chunk :])  # it is woken up, too, when it gets its turn
    torch.testing.assert_close(_joined(rig.finished(first)), LSTM.alone([x]))


# all of it


KINDS = (FRONT, LSTM, ATTENTION)
OPERATIONS = ("open", "push", "push", "push", "step", "step", "poll", "park", "end", "close")


@pytest.mark.parametrize("padded", [False, True])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_happens_every_stream_gives_what_it_gives_alone(padded: bool, data: st.DataObject) -> None:
    rig = _rig(*KINDS, slots=3, config=EngineConfig(park_after=0.0, results=4, buckets=(1, 2)), padded=padded)
    sessions: list[tuple[Session, Kind, list[torch.Tensor], list[torch.Tensor]]] = []
    for operation in data.draw(st.lists(st.sampled_from(OPERATIONS), max_size=40)):
        if operation == "open":
            kind = data.draw(st.integers(0, 2))
            try:
                sessions.append((rig.open(kind=kind), KINDS[kind], [], []))
            except Full:
                assert len(rig.scheduler.streams) - rig.scheduler.parked <= 3
        elif operation == "step":
            rig.step()
        elif sessions:
            session, kind, given_, got = data.draw(st.sampled_from(sessions))
            if operation == "push" and not session.done and session.buffered < 100:
                piece = kind.noise(data.draw(st.integers(0, 20)), len(given_))
                try:
                    session.push(piece)
                except SpeechError as error:  # it was ended
                    assert "open stream" in str(error)  # noqa: PT017
                else:
                    given_.append(piece)
            elif operation == "poll":
                got += session.poll(data.draw(st.sampled_from([None, 1])))
            elif operation == "park":
                try:
                    rig.scheduler.park(session)
                except SpeechError as error:
                    assert "idle session" in str(error)  # noqa: PT017
            elif operation == "end":
                session.end()
            elif operation == "close":
                session.close()
                sessions = [entry for entry in sessions if entry[0] is not session]
    for session, *_ in sessions:
        session.end()
    for _ in range(100):  # in three slots they take turns
        rig.settle()
        for session, _, _, got in sessions:
            got += session.poll()
    for session, kind, given_, got in sessions:
        assert session.done
        torch.testing.assert_close(_joined(got), kind.alone(given_), rtol=1e-5, atol=1e-5)
    assert rig.free == {3} and not rig.scheduler.streams
