"""What steps cost, and what streams will."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.load import Cost, load, measured
from tests.streaming.engine.small import FRONT, LSTM, SmallHost


def test_a_cost_is_interpolated_and_grows_in_proportion_beyond_what_is_known() -> None:
    cost = Cost({4: 0.010, 1: 0.004})
    assert [cost(rows) for rows in (0.5, 1, 2, 4, 8)] == pytest.approx([0.004, 0.004, 0.006, 0.010, 0.020])
    assert Cost({2: 0.01})(1) == 0.01


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 20), seconds=st.floats(1e-3, 1.0))
def test_a_cost_follows_what_steps_take(rows: int, seconds: float) -> None:
    cost = Cost({1: 0.004, 4: 0.010, 16: 0.020})
    before = dict(cost.seconds)
    for _ in range(300):
        cost.learn(rows, seconds)
    known = next((size for size in (1, 4, 16) if size >= rows), 16)
    assert cost.seconds[known] == pytest.approx(seconds * known / max(rows, known), rel=1e-3)
    assert all(cost.seconds[size] == before[size] for size in before if size != known)


def test_measuring_takes_each_size_and_leaves_no_trace() -> None:
    host = SmallHost(4, (FRONT, LSTM))
    for step in host.regular:
        assert list(measured(step, (1, 2, 4)).seconds) == [1, 2, 4]
        assert step.lane.arena.free == 4


def test_load_adds_up_the_steps_of_all_streams() -> None:
    a, b = SmallHost(8, (FRONT, LSTM), seconds=0.1).regular  # ten steps a second
    costs = {a.lane: Cost({1: 0.001, 8: 0.008}), b.lane: Cost({1: 0.002, 8: 0.002})}
    assert load({a: 1}, costs, 8, 0.01) == pytest.approx(0.01)
    assert load({a: 8, b: 8}, costs, 8, 0.01) == pytest.approx(0.08 + 0.16)  # they come one by one
    assert load({b: 8}, costs, 8, 0.05) == pytest.approx(0.04)  # four at a time
    assert load({b: 8}, costs, 2, 0.05) == pytest.approx(0.08)  # two at most
    assert load({b: 2}, costs, 8, 1.0) == pytest.approx(0.02)  # no more than there are
    assert load({}, costs, 8, 0.05) == 0.0


def test_buckets() -> None:
    config = EngineConfig(buckets=(1, 4, 16))
    assert [config.bucket(rows) for rows in (1, 2, 4, 5, 16)] == [1, 4, 4, 16, 16]


@pytest.mark.parametrize(
    "options",
    [
        {"tick": -0.1},
        {"park_after": -1.0},
        {"most_load": 0.0},
        {"results": 0},
        {"buckets": ()},
        {"buckets": (2, 4)},
        {"buckets": (1, 4, 2)},
        {"buckets": (1, 2, 2)},
    ],
)
def test_a_config_that_cannot_be_is_refused(options: dict) -> None:
    with pytest.raises(SpeechError, match="rise from 1"):
        EngineConfig(**options)
