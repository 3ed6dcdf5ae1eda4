"""The benchmark of the engine: its three ways to run, and its arithmetic."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.engine.card import REPEATS, WARM, largest, steps
from benchmarks.engine.live import Measured
from benchmarks.engine.people import attend
from benchmarks.engine.predicted import LARGE, WORK
from benchmarks.engine.predicted import launches as launched
from benchmarks.engine.untrained import untrained
from benchmarks.run import main
from speech.errors import SpeechError
from speech.kernels.backend import interpreted, launches
from speech.streaming.engine.stats import Percentiles, Stats
from speech.streaming.lane import Call, Lane
from speech.streaming.module import Streaming

FIELDS: list[Any] = [4, *[0] * 10, *[0.0] * 3, Percentiles(), Percentiles(), {}]
NOTHING = Stats(*FIELDS)


def _measured(p99: float) -> Measured:
    return Measured(NOTHING, p99, 0, 0, np.zeros(1), 0, [], 0, (0.0, 0.0, 0.0), 0.0)


def _rows(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], float]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {(line["case"], line["metric"]): line["value"] for line in lines}


def test_live_streams_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "--smoke", "--json"]) == 0
    found = _rows(capsys)
    assert 0 < found["asr, 2 streams: chunk to event", "p50"] <= found["asr, 2 streams: chunk to event", "most"]
    assert (
        found["asr, 2 streams: encoder, a step", "rows"] >= 1 and found["asr, 2 streams: inputs refused", "value"] == 0
    )
    assert found["asr, 2 streams: time needed", "value"] > 0
    assert found["asr, 2 streams: overhead of a step", "p50"] > 0 and found["asr, 2 streams: at the end", "memory"] > 50


@pytest.mark.parametrize("model", ["vc", "tts"])
def test_those_who_listen_are_served_too(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "--smoke", "--model", model, "--json"]) == 0
    found = _rows(capsys)
    assert found[f"{model}, 2 streams: {'first sound' if model == 'tts' else 'chunk to event'}", "p50"] > 0
    assert found[f"{model}, 2 streams: real-time factor", "value"] > 0


def test_the_soak_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "--soak", "--smoke", "--json"]) == 0
    found = {case.rpartition(": ")[2]: value for (case, _), value in _rows(capsys).items()}
    assert found["finished"] >= 1 and found["inputs"] > 10
    assert found["lost"] == found["died unasked"] == found["slots lost"] == 0
    assert found["opened"] == found["finished"] + found["left"] + found["died"]


def test_the_measurements_of_a_card_are_rehearsed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "--card", "--smoke", "--device", "cpu", "--json"]) == 0
    found = _rows(capsys)
    assert {("tiny encoder, 2 rows: eager", "step"), ("tiny decoder, 1 rows: eager", "step")} <= found.keys()
    assert found["tiny encoder, 1 rows: eager", "predicted"] > found["tiny encoder, 1 rows: eager", "floor"] > 0
    assert found["tiny: streams at most", "value"] <= 4 and found["tiny: streams at most", "predicted value"] > 100


def test_a_step_runs_eager_then_from_a_graph_then_with_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a card, where all three are one measurement; what is captured is told by where it runs."""
    pytest.importorskip("triton", reason="triton is not installed")
    ways: list[tuple[int, bool, bool]] = []

    def timed(lane: Lane, calls: list[Call], rows: int) -> float:
        ways.append((rows, bool(lane.graphs), launches(torch.zeros(1))))
        return 1e-3

    monkeypatch.setattr("benchmarks.engine.card.timed", timed)
    monkeypatch.setattr("speech.streaming.lane.Graph", lambda step, *_: step)
    monkeypatch.setattr(Lane, "captures", property(lambda lane: isinstance(lane.module, Streaming)))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    model = untrained("tiny", torch.device("cpu"), 80)
    with interpreted():
        found = {(r.case, r.metric): r.value for r in steps("tiny", model, (2,))}
    encoder, decoder = [(2, False, False), (2, True, False), (2, True, True)], [(2, False, False)]
    assert ways == [way for way in encoder + decoder for _ in range(WARM + REPEATS)]
    eager, graph, fused = (found[f"tiny encoder, 2 rows: {way}", "predicted"] for way in ("eager", "graph", "fused"))
    assert eager > graph > fused > 0 and ("tiny decoder, 2 rows: graph", "step") not in found


def test_launches_are_counted_without_views() -> None:
    x = torch.ones(3, 2)
    assert launched(lambda: (x.T[None] + 1).relu_()[0]) == 2


def test_a_card_that_is_not_there_is_missed() -> None:
    with pytest.raises(SpeechError, match="rehearse it with --smoke"):
        main(["engine", "--card", "--device", "cpu"])
    with pytest.raises(SpeechError, match="recogniser to soak"):
        main(["engine", "--soak", "--model", "asr", "vc"])


@pytest.mark.parametrize(
    "words",
    ["engine --push 0", "engine --streams -1", "engine --threads 0", "engine --seconds nan", "kernels --repeats 0"],
)
def test_numbers_that_measure_nothing_are_named(words: str) -> None:
    _, option, value = words.split()
    with pytest.raises(SpeechError, match=f"expected {option} above 0, got {value}"):
        main(words.split())


@pytest.mark.parametrize(("carries", "most"), [(0, 64), (1, 64), (5, 64), (40, 64), (1000, 64), (700, 4096), (9, 9)])
def test_the_largest_number_is_found_in_few_trials(carries: int, most: int) -> None:
    tried: list[int] = []

    def measure(count: int) -> Measured:
        tried.append(count)
        return _measured(0.05 if count <= carries else 0.2)

    count, found = largest(measure, lambda measured: measured.p99 < 0.1, most)
    assert count <= min(carries, most) <= max(1.07 * count, count + 1) and len(tried) <= 16 and max(tried) <= most
    assert (found is None) == (carries == 0)


def test_everyone_has_their_turns_in_time() -> None:
    class Person:
        def __init__(self, period: float) -> None:
            self.period, self.turns = period, list[float]()

        def turn(self, due: float) -> float:
            self.turns.append(due)
            return due + self.period

    people, watched = [Person(0.05), Person(0.1), Person(math.inf)], []
    late = np.array([*attend(people, 1.3, 0.05, lambda: watched.append(1))])
    assert [len(person.turns) for person in people] == pytest.approx([26, 13, 1], abs=1)
    assert len(watched) == 1 and len(late) == sum(len(person.turns) for person in people) and late.min() >= 0


def test_the_floor_of_the_114_m_encoder() -> None:
    """Microseconds by the number of streams, as they were worked out by hand."""
    for streams, expected in {1: 49, 16: 58, 64: 90, 128: 131, 256: 214, 512: 380}.items():
        assert 1e6 * LARGE.floor(streams) == pytest.approx(expected, rel=0.02)
    assert WORK["600m"].weights == pytest.approx(2 * 600e6, rel=0.05)  # bytes in bfloat16
