"""Sessions of an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import Engine
from speech.streaming.engine.session import AsyncSession
from tests.streaming.engine.small import BROKEN, FRAGILE, LSTM, Kind, SmallModel


def _engine(kind: Kind = LSTM, slots: int = 4, results: int = 1024, backlog: int = 400) -> Engine:
    config = EngineConfig(tick=0.001, most_load=1e9, results=results)
    return Engine(SmallModel(), slots, config, kinds=(kind,), backlog=backlog)


def _run(work: Coroutine[Any, Any, Any]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


async def _say(session: AsyncSession, x: Tensor, size: int) -> None:
    for piece in x.split(size):
        await session.push(piece)
    session.end()


async def _hear(session: AsyncSession) -> Tensor:
    return torch.cat([y async for y in session])


def test_one_task_pushes_and_one_listens() -> None:
    """With little room either must wait for the other, and for the engine."""

    async def talk(engine: Engine, seed: int) -> None:
        x = LSTM.noise(120, seed)
        async with await engine.connect() as session:
            _, y = await asyncio.gather(_say(session, x, 5), _hear(session))
        torch.testing.assert_close(y, LSTM.alone([x]))

    async def work() -> None:
        with _engine(results=2, backlog=10) as engine:
            await asyncio.gather(*(talk(engine, seed) for seed in range(4)))
            assert engine.stats().ended == 4

    _run(work())


def test_who_stops_listening_can_go_on_later() -> None:
    async def work() -> None:
        x, got = LSTM.noise(30), []
        with _engine() as engine:
            session = await engine.connect()
            await _say(session, x, LSTM.chunk)
            while engine.stats().sessions:  # all results lie there
                await asyncio.sleep(0.001)
            async for y in session:
                got.append(y)
                if len(got) == 3:
                    break
            async for y in session:
                got.append(y)
        torch.testing.assert_close(torch.cat(got), LSTM.alone([x]))

    _run(work())


def test_a_cancelled_listener_loses_nothing() -> None:
    async def work() -> None:
        x, got = LSTM.noise(200), []

        async def listen() -> None:
            async for y in session:
                got.append(y)
                await asyncio.sleep(0)

        with _engine() as engine:
            session = await engine.connect()
            for piece in x.split(10):
                task = asyncio.create_task(listen())
                await session.push(piece)
                await asyncio.sleep(0.002)
                task.cancel()
            session.end()
            await listen()
        torch.testing.assert_close(torch.cat(got), LSTM.alone([x]))

    _run(work())


def test_a_cancelled_push_was_not_taken() -> None:
    async def work() -> None:
        with _engine(results=1, backlog=10) as engine:
            session, x = await engine.connect(), LSTM.noise(60)
            await session.push(x[:40])
            await session.push(x[40:45])  # waits behind it
            task = asyncio.create_task(session.push(x[45:55]))
            await asyncio.sleep(0.01)
            assert not task.done()
            task.cancel()
            listening = asyncio.create_task(_hear(session))
            await session.push(x[55:])
            session.end()
            y = await listening
        torch.testing.assert_close(y, LSTM.alone([torch.cat([x[:45], x[55:]])]))

    _run(work())


def test_a_session_that_nobody_waits_for_any_more_is_closed() -> None:
    async def work() -> None:
        with _engine(slots=2) as engine:
            for wait in (0.0, 0.0, 0.001, 0.002, 0.005) * 4:
                task = asyncio.create_task(engine.connect())
                await asyncio.sleep(wait)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if not task.cancelled() and task.exception() is None:
                    task.result().close()
            while engine.stats().sessions:
                await asyncio.sleep(0.001)
            async with await engine.connect() as session:  # it lives
                await _say(session, LSTM.noise(10), 4)
                assert len(await _hear(session)) == 10

    _run(work())


def test_what_breaks_a_stream_is_raised_by_its_loop() -> None:
    async def work() -> None:
        with _engine(FRAGILE, slots=1) as engine:
            async with await engine.connect() as session:
                with pytest.raises(Full):
                    await engine.connect()
                with pytest.raises(SpeechError, match="NaN"):
                    await session.push(torch.full((2, 3), float("nan")))
                await session.push(FRAGILE.noise(4))
                await session.push(torch.full((2, 3), BROKEN))
                listening = aiter(session)
                assert len(torch.cat([await anext(listening) for _ in range(2)])) == 4
                with pytest.raises(ValueError, match="broke"):
                    await anext(listening)
                with pytest.raises(ValueError, match="broke"):
                    await session.push(FRAGILE.noise(2))

    _run(work())


def test_the_loop_may_be_closed_before_the_engine() -> None:
    async def work() -> AsyncSession:
        session = await engine.connect()
        await session.push(LSTM.noise(200))
        return session

    with _engine() as engine:
        session = asyncio.run(work())  # and nobody closed it
        other = engine.open()
        other.push(LSTM.noise(10))
        other.end()
        assert len(torch.cat(list(other))) == 10
        session.close()
        while engine.stats().sessions:
            time.sleep(0.001)


def test_an_engine_that_closes_ends_the_listening() -> None:
    async def work() -> None:
        engine = _engine()
        session = await engine.connect()
        listening = asyncio.create_task(_hear(session))
        await asyncio.sleep(0.01)
        await asyncio.to_thread(engine.close)
        with pytest.raises(SpeechError, match="running engine"):
            await listening
        with pytest.raises(SpeechError, match="running engine"):
            await engine.connect()

    _run(work())
