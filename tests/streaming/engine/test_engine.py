"""The engine and its thread, with the threads of users."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import Engine
from speech.streaming.engine.session import Backlog, Session
from tests.streaming.engine.small import ATTENTION, BROKEN, FATAL, FRAGILE, FRONT, LSTM, Kind, SmallHost, SmallModel

EAGER = EngineConfig(tick=0.001, most_load=1e9)


def _engine(*kinds: Kind, slots: int = 4, config: EngineConfig = EAGER, **options: Any) -> Engine:
    return Engine(SmallModel(), slots, config, kinds=kinds or (LSTM,), **options)


def _free(engine: Engine) -> set[int]:
    return {step.lane.arena.free for step in engine.host.regular}


@contextmanager
def _threads(work: Callable[[int], None], count: int) -> Iterator[None]:
    """Threads of users; what they raise is raised here."""
    errors: list[BaseException] = []

    def run(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def _said(session: Session, x: Tensor, size: int) -> Tensor:
    """Push a signal piece by piece, and all that comes of it."""
    for piece in x.split(size):
        session.push(piece)
    session.end()
    return torch.cat(list(session))


def test_many_threads_get_what_their_streams_give_alone() -> None:
    kinds = (LSTM, FRONT, ATTENTION)
    expected = {i: kinds[i % 3].alone([kinds[i % 3].noise(60, i)]) for i in range(12)}
    with _engine(*kinds, slots=12) as engine:

        def talk(i: int) -> None:
            for _ in range(3):
                with engine.open(kind=i % 3) as session:
                    y = _said(session, kinds[i % 3].noise(60, i), 3 + i)
                    torch.testing.assert_close(y, expected[i], rtol=1e-5, atol=1e-5)

        with _threads(talk, 12):
            pass
        stats = engine.stats()
        assert _free(engine) == {12} and stats.sessions == stats.parked == stats.queue == 0
        assert (stats.opened, stats.ended, stats.failed, stats.refused) == (36, 36, 0, 0)
        assert stats.inputs > 36 and stats.latency.count and stats.overhead.count and 0 < stats.busy <= 1


def test_one_thread_pushes_while_another_iterates() -> None:
    x, got = LSTM.noise(90), []
    with _engine(config=EngineConfig(tick=0.0, results=2)) as engine, engine.open() as session:

        def work(i: int) -> None:
            if i:
                got.extend(session)
                return
            for piece in x.split(LSTM.chunk):
                session.push(piece)
                time.sleep(0.001)
            session.end()

        with _threads(work, 2):
            pass
        torch.testing.assert_close(torch.cat(got), LSTM.alone([x]))


def test_two_iterate_and_share_the_results() -> None:
    x, got = LSTM.noise(90), []
    with _engine() as engine, engine.open() as session, _threads(lambda _: got.extend(session), 3):
        for piece in x.split(LSTM.chunk):
            session.push(piece)
        session.end()
    assert sum(map(len, got)) == 90


def test_polling_gives_what_is_there() -> None:
    with _engine() as engine, engine.open() as session:
        assert session.poll() == []
        x, got = LSTM.noise(30), []
        session.push(x)
        session.end()
        while not session.done:
            got += session.poll()
            time.sleep(0.001)
        got += session.poll()
        torch.testing.assert_close(torch.cat(got), LSTM.alone([x]))
        assert session.poll() == []


def test_too_much_input_is_refused_until_some_was_worked_off() -> None:
    x = LSTM.noise(300)
    with _engine(backlog=50, config=EngineConfig(tick=0.0, results=1)) as engine, engine.open() as session:
        pieces, got = [*x.split([200, *[10] * 10])], []  # where nothing waits, one may be longer
        session.push(pieces.pop(0))
        while not session.clogged:
            time.sleep(0.001)
        while session.buffered < 50:
            session.push(pieces.pop(0))
        with pytest.raises(Backlog, match="at most 50 to wait, got 50 that wait and 10 more while nobody takes"):
            session.push(pieces[0])
        while pieces:
            got += session.poll()
            try:
                session.push(pieces[0])
                pieces.pop(0)
            except Backlog:
                time.sleep(0.001)
        session.end()
        torch.testing.assert_close(torch.cat(got + list(session)), LSTM.alone([x]))


def test_an_ended_or_closed_session_takes_no_more() -> None:
    with _engine() as engine:
        ended, closed = engine.open(), engine.open()
        ended.end()
        ended.end()
        with pytest.raises(SpeechError, match="was ended"):
            ended.push(LSTM.noise(1))
        closed.push(LSTM.noise(100))
        closed.close()
        closed.close()
        with pytest.raises(SpeechError, match="was ended"):
            closed.push(LSTM.noise(1))
        assert list(closed) == [] and torch.cat(list(ended)).shape == (0, 5)
        assert closed.buffered == 0


@pytest.mark.parametrize(("poison", "error"), [(BROKEN, ValueError), (FATAL, RuntimeError)])
def test_what_breaks_a_stream_is_raised_where_its_results_are_taken(poison: float, error: type[Exception]) -> None:
    with _engine(FRAGILE) as engine, engine.open() as bad, engine.open() as good:
        x = FRAGILE.noise(40)
        for i, piece in enumerate(x.split(2)):
            good.push(piece)
            if i < 5:
                bad.push(piece)
        bad.push(torch.full((2, 3), poison))
        results = iter(bad)
        torch.testing.assert_close(torch.cat([next(results) for _ in range(5)]), x[:10].tanh())
        with pytest.raises(error):
            next(results)
        good.end()
        torch.testing.assert_close(torch.cat(list(good)), x.tanh())
        assert engine.stats().failed == 1


def test_closing_in_the_middle_gives_the_slot_back() -> None:
    with _engine(slots=2) as engine:
        for _ in range(20):
            with engine.open() as session:
                session.push(LSTM.noise(30))
        while engine.stats().sessions:
            time.sleep(0.001)
        assert _free(engine) == {2}


@pytest.mark.parametrize("how", ["ended", "closed", "broken", "parked"])
def test_an_engine_forgets_who_left(how: str) -> None:
    def visit(engine: Engine) -> weakref.ref[Session]:
        session = engine.open()
        session.push(FRAGILE.noise(4) if how != "broken" else torch.full((2, 3), FATAL))
        while engine.stats().inputs < 1 and not session.done:
            time.sleep(0.001)
        if how == "parked":
            engine.park(session)
        if how != "ended":
            session.close()
        session.end()
        while engine.stats().sessions:
            time.sleep(0.001)
        return weakref.ref(session)

    gc.disable()  # there must be no cycle: when those are looked for next is not known
    try:
        with _engine(FRAGILE) as engine:
            left = visit(engine)
            engine.stats()
            assert left() is None
    finally:
        gc.enable()


def test_closing_the_engine_ends_its_sessions() -> None:
    engine = _engine()
    busy, waiting = engine.open(), engine.open()
    busy.push(LSTM.noise(400))

    def work(_: int) -> None:
        with pytest.raises(SpeechError, match="running engine"):
            list(waiting)

    with _threads(work, 1):
        engine.close()
    engine.close()
    assert busy.done and waiting.done and _free(engine) == {4}
    with pytest.raises(SpeechError, match="running engine"):
        busy.push(LSTM.noise(1))
    for ask in (engine.open, engine.stats, engine.metrics, lambda: engine.park(busy)):
        with pytest.raises(SpeechError, match="start another"):
            ask()


def test_opening_while_the_engine_closes_never_hangs() -> None:
    engine = _engine(slots=64)

    def come_and_go() -> None:
        while True:
            engine.open().close()

    def work(_: int) -> None:
        with pytest.raises(SpeechError, match=r"running engine|in use"):
            come_and_go()

    with _threads(work, 4):
        time.sleep(0.05)
        engine.close()
    assert _free(engine) == {64}


def test_sessions_of_more_streams_than_slots_take_turns() -> None:
    x = LSTM.noise(40)
    with _engine(slots=2, config=EngineConfig(tick=0.0, park_after=0.0, most_load=1e9)) as engine:
        sessions: list[Session] = []
        while len(sessions) < 5:
            try:
                sessions.append(engine.open())
            except Full:
                time.sleep(0.001)
        for piece in x.split(7):
            for session in sessions:
                session.push(piece)
        for session in sessions:
            session.end()
        for session in sessions:
            torch.testing.assert_close(torch.cat(list(session)), LSTM.alone([x]))
        assert _free(engine) == {2}


def test_a_session_is_parked_on_request() -> None:
    x = LSTM.noise(40)
    with _engine(slots=1) as engine, _engine() as another:
        session = engine.open()
        session.push(x[:20])
        while engine.stats().inputs < 1:
            time.sleep(0.001)
        engine.park(session)
        assert engine.stats().parked == 1 and _free(engine) == {1}
        with pytest.raises(SpeechError, match="another engine"):
            another.park(session)
        session.push(x[20:])
        session.end()
        torch.testing.assert_close(torch.cat(list(session)), LSTM.alone([x]))


def test_without_a_slot_or_the_time_a_session_is_refused_with_a_hint() -> None:
    with _engine(slots=1) as engine, engine.open():
        with pytest.raises(Full, match="in use") as refusal:
            engine.open()
        assert refusal.value.retry_after == 1.0 and engine.stats().refused == 1
    short = 1e-7  # seconds of a chunk, less than its step takes: the first stream is taken all the same
    with _engine(config=EngineConfig(), seconds=short) as engine, engine.open():
        with pytest.raises(Full, match=r"a load of at most 80%, got \d+%"):
            engine.open()
        assert engine.stats().needed > 0.8 and _free(engine) == {3}


def test_options_that_do_not_fit_are_refused_and_cost_no_slot() -> None:
    with _engine() as engine:
        with pytest.raises(SpeechError, match="below 1"):
            engine.open(kind=3)
        with pytest.raises(SpeechError, match=r"expected options of kind, .*, got colour: leave that out"):
            engine.open(colour="red")
        assert _free(engine) == {4} and engine.stats().opened == 0


@pytest.mark.parametrize("slots", [0, -3, "4", 2.5, None, True])
def test_what_is_no_number_of_slots_is_named(slots: Any) -> None:
    with pytest.raises(SpeechError, match=f"at least one slot, got {slots!r}"):
        _engine(slots=slots)


def test_what_is_no_model_and_no_settings_is_named() -> None:
    name: Any = "asr"
    with pytest.raises(SpeechError, match=r"that can be hosted, got 'asr': pass what speech\.load returns"):
        Engine(name)
    with pytest.raises(SpeechError, match=r"as an EngineConfig, got 'fast'"):
        _engine(config=cast(Any, "fast"))


class Slow(SmallHost):
    """Its streams begin when something has happened that takes long."""

    def __init__(self, slots: int, **options: Any) -> None:
        super().__init__(slots, **options)
        self.happened = threading.Event()

    def prepare(self, *, kind: int = 0) -> None:
        if kind and not self.happened.wait(20):
            raise SpeechError("expected it to happen, it did not")


class SlowModel(SmallModel):
    def host(self, slots: int, **options: Any) -> Slow:
        return Slow(slots, **options)


@pytest.mark.parametrize("connected", [False, True])
def test_streams_go_on_while_another_is_prepared(connected: bool) -> None:
    with Engine(SlowModel(), 2, EAGER, kinds=(LSTM, FRONT)) as engine, engine.open() as session:
        assert isinstance(engine.host, Slow)

        async def connect() -> None:
            opening = asyncio.create_task(engine.connect(kind=1))
            await asyncio.sleep(0)  # the loop goes on, too
            assert not opening.done()
            (await opening).close()

        def work(_: int) -> None:
            asyncio.run(connect()) if connected else engine.open(kind=1).close()

        with _threads(work, 1):
            torch.testing.assert_close(_said(session, LSTM.noise(30), 5), LSTM.alone([LSTM.noise(30)]))
            assert engine.stats().opened == 1
            engine.host.happened.set()
        assert engine.stats().opened == 2


def test_two_engines_run_on_one_model() -> None:
    x = LSTM.noise(60)
    with _engine() as first, _engine() as second:

        def work(i: int) -> None:
            with (first, second)[i % 2].open() as session:
                torch.testing.assert_close(_said(session, x, 4), LSTM.alone([x]))

        with _threads(work, 6):
            pass
        assert first.stats().ended == second.stats().ended == 3
