"""What an engine does with a step before its first stream: captured in all its sizes, or without graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import Engine
from speech.streaming.lane import Lane
from tests.streaming.engine.small import ATTENTION, LSTM, SmallModel
from tests.streaming.tape import Tape

CONFIG = EngineConfig(tick=0.001, most_load=1e9, buckets=(1, 2, 4, 8))


class Spoilt(Tape):
    """Cannot hold a batch of two."""

    def __init__(self, step: Callable[[Tensor, Tensor], Any], data: Tensor, *more: Any) -> None:
        if len(data) == 2:
            raise RuntimeError("operation not permitted when stream is capturing")
        super().__init__(step, data, *more)


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are captured here as on a card, by tapes."""
    monkeypatch.setattr("speech.streaming.lane.Graph", Tape)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(Lane, "captures", property(lambda lane: lane.padded))


def _sizes(engine: Engine) -> list[list[tuple[int, int, int]]]:
    return [list(step.lane.graphs) for step in engine.host.regular]


def _equal_to_alone(engine: Engine) -> None:
    inputs = [kind.noise(30, i) for i, kind in enumerate((LSTM, ATTENTION) * 2)]
    sessions = [engine.open(kind=i % 2) for i in range(4)]
    for session, x in zip(sessions, inputs, strict=True):
        session.push(x)
        session.end()
    for session, x, kind in zip(sessions, inputs, (LSTM, ATTENTION) * 2, strict=True):
        torch.testing.assert_close(torch.cat(list(session)), kind.alone([x]), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("taped")
def test_each_step_is_captured_once_for_each_bucket_before_the_first_stream() -> None:
    with Engine(SmallModel(), 5, CONFIG, kinds=(LSTM, ATTENTION), padded=True) as engine:
        before = _sizes(engine)
        for step, sizes in zip(engine.host.regular, before, strict=True):
            assert sizes == [(rows, step.count, step.phase) for rows in (4, 2, 1)]
        _equal_to_alone(engine)
        assert _sizes(engine) == before


@pytest.mark.usefixtures("taped")
def test_a_step_that_cannot_be_captured_runs_without_graphs_after_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.streaming.lane.Graph", Spoilt)
    with pytest.warns(UserWarning, match="steps of the kind . run without graphs: operation not permitted") as told:
        engine = Engine(SmallModel(), 4, CONFIG, kinds=(LSTM, ATTENTION), padded=True)
    assert len(told) == 2 and {one.filename for one in told} == {__file__}, "one for each step, where it was asked for"
    with engine, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _sizes(engine) == [[], []]
        _equal_to_alone(engine)


@pytest.mark.usefixtures("taped")
def test_without_graphs_nothing_is_captured() -> None:
    config = EngineConfig(tick=0.001, most_load=1e9, graphs=False)
    with Engine(SmallModel(), 2, config, kinds=(LSTM, ATTENTION), padded=True) as engine:
        assert _sizes(engine) == [[], []]
