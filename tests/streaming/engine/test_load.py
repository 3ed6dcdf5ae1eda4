"""What steps cost, and what streams will."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.load import Cost, foreseen, measured, needed
from tests.streaming.engine.small import FRONT, LSTM, SmallHost


def test_a_cost_is_interpolated_and_grows_in_proportion_beyond_what_is_known() -> None:
    cost = Cost({4: 0.010, 1: 0.004})
    assert [cost(rows) for rows in (0.5, 1, 2, 4, 8)] == pytest.approx([0.004, 0.004, 0.006, 0.010, 0.020])
    assert Cost({2: 0.01})(1) == 0.01
    disturbed = Cost({1: 0.004, 4: 0.010, 16: 2.0})
    assert [disturbed(rows) for rows in (4, 8, 16, 32)] == pytest.approx([0.010, 0.020, 0.040, 0.080])


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 20), seconds=st.floats(1e-3, 1.0))
def test_a_cost_follows_what_steps_take(rows: int, seconds: float) -> None:
    cost = Cost({1: 0.004, 4: 0.010, 16: 0.020})
    before = dict(cost.seconds)
    for _ in range(300):
        cost.learn(rows, seconds, rows)
    known = next((size for size in (1, 4, 16) if size >= rows), 16)
    assert cost.seconds[known] == pytest.approx(seconds * known / max(rows, known), rel=1e-3)
    assert all(cost.seconds[size] == before[size] for size in before if size != known)


def test_measuring_takes_each_size_and_leaves_no_trace() -> None:
    host = SmallHost(4, (FRONT, LSTM))
    for step in host.regular:
        assert list(measured(step, (1, 2, 4)).seconds) == [1, 2, 4]
        assert step.lane.arena.free == 4


@settings(max_examples=20, deadline=None)
@given(streams=st.integers(2, 40), joined=st.floats(0.0, 1.0))
def test_how_many_come_together_is_learnt(streams: int, joined: float) -> None:
    """As a share of the other streams, so that it holds for other numbers of them."""
    cost, rows = Cost({1: 0.004, 64: 0.004}), 1 + round(joined * (streams - 1))
    assert cost.rows(streams) == 1.0  # as long as nothing is known
    for _ in range(300):
        cost.learn(rows, 0.004, streams)
    assert cost.rows(streams) == pytest.approx(rows, rel=1e-3) and cost.rows(1) == 1.0
    assert cost.rows(2 * streams - 1) - 1 == pytest.approx(2 * (rows - 1), rel=1e-3)
    before = cost.joined
    cost.learn(1, 0.004, 1)  # who is alone tells nothing of it
    assert cost.joined == before


def test_what_is_needed_adds_up_the_steps_of_all_streams() -> None:
    a, b = SmallHost(8, (FRONT, LSTM), seconds=0.1).regular  # ten steps a second
    costs = {a.lane: Cost({1: 0.001, 8: 0.008}), b.lane: Cost({1: 0.002, 8: 0.002})}
    assert needed({a: 1}, costs, 8, 0.01) == pytest.approx(0.01)
    assert needed({a: 8, b: 8}, costs, 8, 0.01) == pytest.approx(0.08 + 0.16)  # they come one by one
    assert needed({b: 8}, costs, 8, 0.05) == pytest.approx(0.04)  # four at a time
    assert needed({b: 8}, costs, 2, 0.05) == pytest.approx(0.08)  # two at most
    assert needed({b: 2}, costs, 8, 1.0) == pytest.approx(0.02)  # no more than there are
    assert needed({}, costs, 8, 0.05) == 0.0


def test_what_is_foreseen_goes_by_how_many_come_together() -> None:
    _, step = SmallHost(8, (FRONT, LSTM), seconds=0.1).regular
    cost = Cost({1: 0.002, 8: 0.009})
    costs = {step.lane: cost}
    assert foreseen({step: 8}, costs, 8) == pytest.approx(0.16)  # one by one
    for _ in range(300):
        cost.learn(4, 0.005, 7)
    cost.seconds = {1: 0.002, 8: 0.009}
    assert foreseen({step: 7}, costs, 8) == pytest.approx(70 / 4 * 0.005, rel=1e-3)
    assert foreseen({step: 40}, costs, 8) == pytest.approx(400 / 8 * 0.009, rel=1e-3)  # no more go at once
    assert foreseen({step: 0}, costs, 8) == 0.0


@settings(max_examples=20, deadline=None)
@given(streams=st.integers(8, 64), one=st.floats(1e-3, 0.02), more=st.floats(1e-4, 3e-3), seed=st.integers(0, 9))
def test_what_is_foreseen_is_what_will_be_used(streams: int, one: float, more: float, seed: int) -> None:
    """As long as there is time: it is learnt with half of the streams, and foreseen for all. The moments at which they
    ask are chance, which may double or halve it.
    """
    [step] = SmallHost(64, (LSTM,), seconds=0.5).regular
    costs = {step.lane: Cost({size: one + (size - 1) * more for size in (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)})}
    for count in (-(-streams // 2), streams):
        share = foreseen({step: count}, costs, 64)
        assume(share < 0.9)
        used = _used(costs[step.lane], one, more, step.per_second, count, seed)
    assert used / 2 < share < 2 * used


def _used(cost: Cost, one: float, more: float, per_second: float, streams: int, seed: int) -> float:
    """The share of time in which steps are taken, by an engine's rule: all that wait go at once, what comes to an idle
    engine waits for the end of the tick. Each stream asks at moments of its own.
    """
    tick, seconds = EngineConfig().tick, 60.0
    begins = np.random.default_rng(seed).random(streams) / per_second
    asked = np.sort((begins[:, None] + np.arange(0, seconds, 1 / per_second)).ravel())
    now = busy = 0.0
    while len(asked):
        now = now if asked[0] <= now else np.ceil(asked[0] / tick) * tick
        rows = int(np.searchsorted(asked, now, side="right"))
        asked, took = asked[rows:], one + (rows - 1) * more
        now, busy = now + took, busy + took
        cost.learn(rows, took, streams)
    return busy / seconds


def test_buckets() -> None:
    config = EngineConfig(buckets=(1, 4, 16))
    assert [config.bucket(rows) for rows in (1, 2, 4, 5, 16)] == [1, 4, 4, 16, 16]
