"""Live conversion in a simulated time: the delay is the stated one, whatever devices and computing do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from speech.errors import SpeechError
from speech.vc import computing, ends
from speech.vc import live as whole
from speech.vc.delay import compute_budget
from speech.vc.ends import Mode
from speech.vc.live import Live, Settings
from tests.vc.world import Echo, Input, Output, World

RATE = 16000


def tone(t: np.ndarray) -> np.ndarray:
    """A sound that is like itself at no other time, of low frequencies only."""
    return 0.3 * np.sin(2 * np.pi * 90 * t) * np.sin(2 * np.pi * 7.3 * t) + 0.2 * np.sin(
        2 * np.pi * 41.7 * t + 3 * t**2
    )


def off(world: World, delay: float, begin: float, end: float) -> float:
    """By how many seconds what was heard from begin to end differs from what was said `delay` seconds before."""
    times = np.arange(begin, end, 1 / RATE)
    shifts = np.arange(-0.02, 0.02, 0.0002)
    heard = world.sink.at(times)
    return float(shifts[np.argmin([np.square(heard - tone(times - delay - shift)).mean() for shift in shifts])])


def enter(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Let a conversion know no other time than that of a world."""
    for module in (whole, ends, computing):
        monkeypatch.setattr(module, "time", world)


@contextmanager
def living(
    monkeypatch: pytest.MonkeyPatch,
    source: Input,
    sink: Output,
    make: Callable[[int, int], Echo],
    settings: Settings | None = None,
    mode: Mode = Mode.CONVERTED,
) -> Iterator[tuple[World, Live]]:
    """A conversion that has begun, in its world."""
    world = World(source, sink)
    enter(monkeypatch, world)
    live = Live(make, source, sink, settings or Settings(0.05, gate=None))
    live.mode = mode
    try:
        live.prepare()
        live.begin()
        before = source.count

        def settled() -> bool:
            done = live._stream.pushed >= source.count - before  # type: ignore[attr-defined]
            return done or (live.asleep and not live._computing.backlog) or live._computing.failure is not None

        world.settled = settled
        yield world, live
    finally:
        live.stop()


def echo(rate: int, out: int) -> Echo:
    return Echo(rate)


@pytest.mark.parametrize("jitter", [0.0, 0.004])
def test_the_delay_is_the_stated_one(monkeypatch: pytest.MonkeyPatch, jitter: float) -> None:
    source, sink = Input(RATE, tone), Output(RATE)
    source.jitter = sink.jitter = jitter
    with living(monkeypatch, source, sink, echo) as (world, live):
        parts = live.delay.parts
        world.sleep(6)
        status = live.status()
    assert sum(parts.values()) == pytest.approx(live.delay.total)
    assert parts["chunk"] == 0.08 and parts["compute"] == 0.05
    assert parts["device in"] >= 0.01 and parts["device out"] >= 0.03
    assert abs(off(world, live.delay.total, world.now - 3, world.now)) < 0.0012 + jitter / 2
    assert status.delay_median == pytest.approx(live.delay.total, abs=0.0015 + jitter / 2)
    assert (status.missing, status.dropped, status.jumps) == (0, 0, 0)


@pytest.mark.parametrize("drift", [1e-3, -1e-3])
def test_devices_whose_clocks_run_apart(monkeypatch: pytest.MonkeyPatch, drift: float) -> None:
    with living(monkeypatch, Input(RATE, tone), Output(RATE, drift), echo) as (world, live):
        world.sleep(12)
        status = live.status()
    assert status.corrected > 0.3 * 12 * RATE * abs(drift)
    assert abs(off(world, live.delay.total, world.now - 2, world.now)) < 0.005
    assert status.jumps == 0 and status.missing == 0


@pytest.mark.parametrize("end", ["source", "sink"])
def test_a_device_that_lost_sound_is_on_time_again_at_once(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    source, sink = Input(RATE, tone), Output(RATE)
    with living(monkeypatch, source, sink, echo) as (world, live):
        world.sleep(2)
        {"source": source, "sink": sink}[end].lose(0.0731)
        world.sleep(live.delay.total + 0.2)
        begin = world.now
        world.sleep(0.5)
        status = live.status()
    assert abs(off(world, live.delay.total, begin, world.now)) < 0.0015
    assert status.jumps == 1


def test_pass_through_keeps_the_delay_between_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = Input(48000, tone), Output(RATE)
    with living(monkeypatch, source, sink, lambda rate, out: Echo(rate), mode=Mode.DRY) as (world, live):
        world.sleep(4)
    assert abs(off(world, live.delay.total, world.now - 2, world.now)) < 0.0015


def test_what_is_heard_is_what_the_stream_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.vc.small import small_converter

    converter = small_converter()
    heard: list[np.ndarray] = []
    given: list[np.ndarray] = []

    class Kept(Echo):
        """A stream of the converter; what passes it is kept."""

        def __init__(self) -> None:
            super().__init__(RATE)
            self.stream = converter.stream(RATE, "anna", RATE)
            self.latency, self.chunk = self.stream.latency, self.stream.chunk

        def feed(self, samples: np.ndarray) -> np.ndarray:
            heard.append(samples)
            given.append(self.stream.feed(samples))
            self.pushed += len(samples)
            return given[-1]

    settings = Settings(0.2, gate=None)
    with living(monkeypatch, Input(RATE, tone), Output(RATE), lambda *_: Kept(), settings) as (world, _):
        world.sleep(2)
    made, played = np.concatenate(given), np.concatenate([x for _, x in world.sink.heard])
    probe = made[RATE // 2 : RATE // 2 + 4000]
    starts = np.flatnonzero(played[: -len(probe)] == probe[0])
    assert any(np.array_equal(played[start : start + len(probe)], probe) for start in starts)
    np.testing.assert_allclose(made, converter.stream(RATE, "anna", RATE).feed(np.concatenate(heard)), atol=1e-4)


def test_overload_drops_and_the_delay_does_not_climb(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds: list[World] = []
    slow = threading.Event()

    def cost() -> None:
        until = worlds[0].now + 0.15 if slow.is_set() else 0.0
        while worlds[0].now < until and slow.is_set():
            time.sleep(0.0005)

    with living(monkeypatch, Input(RATE, tone), Output(RATE), lambda rate, _: Echo(rate, 1.0, cost)) as (world, live):
        worlds.append(world)
        follow, world.settled = world.settled, lambda: time.sleep(0.001) is None
        slow.set()
        world.sleep(6)
        slow.clear()
        world.settled = lambda: live._computing.backlog == 0 and time.sleep(0.001) is None
        world.sleep(1)
        worst = live.status()
        world.settled = follow if worst.dropped == 0 else world.settled
        world.sleep(3)
        status = live.status()
    assert worst.dropped >= 3 and worst.missing > 0.5
    assert status.delay_p99 == pytest.approx(live.delay.total, abs=0.002)
    assert (status.dropped, status.jumps) == (worst.dropped, 0)
    assert abs(off(world, live.delay.total, world.now - 2, world.now)) < 0.0015


def test_a_drop_costs_little_more_than_what_was_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that come a little late lose what came late and what is dropped after them, not all that they hold."""
    worlds, busy = list[World](), [0.0]

    def cost() -> None:
        if worlds:
            busy[0] = worlds[0].now + 0.1
            while worlds[0].now < busy[0] - 1e-9:
                time.sleep(0.0002)

    with living(monkeypatch, Input(RATE, tone), Output(RATE), lambda rate, _: Echo(rate, 1.0, cost)) as (world, live):
        worlds.append(world)
        world.settled = lambda: world.now < busy[0] - 1e-9 or live._computing.backlog == 0
        world.sleep(3)
        status, dropped = live.status(), live._computing.dropped / RATE
        worlds.clear()
    assert 1 < dropped < 2
    assert status.missing < dropped + 0.8


def test_silence_is_not_converted_and_sound_comes_back_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoken(t: np.ndarray) -> np.ndarray:
        return tone(t) * ((t < 103.5) | (t > 109.7371))

    settings = Settings(0.05, gate=-50.0, settle=1.0)
    with living(monkeypatch, Input(RATE, spoken), Output(RATE), echo, settings) as (world, live):
        world.sleep(4)
        asleep, before = live.status().asleep, live._stream.pushed  # type: ignore[attr-defined]
        world.sleep(2.5)
        after, status = live._stream.pushed, live.status()  # type: ignore[attr-defined]
        world.settled = lambda: live._computing.backlog == 0 and time.sleep(0.001) is None
        world.sleep(2.5)
        awake = live.status()
    assert asleep and after == before and status.factor == 0, (asleep, before, after, status)
    assert (awake.asleep, awake.missing, awake.dropped) == (False, 0, 0)
    assert abs(off(world, live.delay.total, 109.8 + live.delay.total, world.now)) < 0.0015
    times = np.arange(109.76, 110.5, 1 / RATE)  # 20 ms after the voice is back, at the latest, nothing lacks
    np.testing.assert_allclose(world.sink.at(times + live.delay.total), tone(times), atol=0.08)


def test_keys_fade_and_the_target_reaches_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def steady(t: np.ndarray) -> np.ndarray:
        return 0.5 + 0 * t

    make = lambda rate, out: Echo(rate, -1.0)  # noqa: E731
    with living(monkeypatch, Input(RATE, steady), Output(RATE), make) as (world, live):
        world.sleep(1)
        levels, begun = [], len(world.sink.heard)
        for mode in (Mode.CONVERTED, Mode.DRY, Mode.MUTED, Mode.CONVERTED):
            live.mode = mode
            world.sleep(0.5)
            levels.append(round(float(world.sink.at(np.array([world.now - 0.1]))[0]), 4))
        live.target = "ben"
        world.sleep(0.2)
        targets = live._stream.targets  # type: ignore[attr-defined]
        x = np.concatenate([x for _, x in world.sink.heard[begun:]])
    assert levels == [-0.5, 0.5, 0.0, -0.5]
    assert np.abs(np.diff(x)).max() < 0.02
    assert targets[0] == "anna" and targets[-1] == "ben"


def test_a_lost_device_comes_back_with_the_same_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = Input(RATE, tone), Output(RATE)
    with living(monkeypatch, source, sink, echo) as (world, live):
        world.sleep(2)
        assert live.healthy
        source.plugged = False
        world.sleep(1.3)
        assert not live.healthy
        assert not live.resume()
        source.plugged, pushed = True, live._stream.pushed  # type: ignore[attr-defined]
        world.settled = lambda: live._computing.backlog == 0 and time.sleep(0.001) is None
        assert live.resume() and live.healthy
        world.sleep(3)
        assert live._stream.pushed > pushed  # type: ignore[attr-defined]
        status = live.status()
    assert abs(off(world, live.delay.total, world.now - 1.5, world.now)) < 0.0015
    assert status.dropped == 0


def test_what_ends_the_computing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Echo):
        def feed(self, samples: np.ndarray) -> np.ndarray:
            raise SpeechError("expected a stream that works")

    with living(monkeypatch, Input(RATE, tone), Output(RATE), lambda rate, _: Broken(rate)) as (world, live):
        world.sleep(0.2)
        with pytest.raises(SpeechError, match="works"):
            assert live.healthy


def test_devices_that_bring_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = Input(RATE, tone), Output(RATE)
    source.begin = 1e9
    enter(monkeypatch, World(source, sink))
    with pytest.raises(SpeechError, match="expected sound to pass 'in' and 'out'"):
        Live(echo, source, sink, Settings(0.05)).prepare()


def test_the_budget_covers_a_chunk() -> None:
    assert compute_budget(Echo(RATE, 1.0, lambda: time.sleep(0.02))) >= 0.03
    assert compute_budget(Echo(RATE)) == pytest.approx(0.01)
