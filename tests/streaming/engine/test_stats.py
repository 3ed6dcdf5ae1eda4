"""The numbers of an engine."""

from __future__ import annotations

import json
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from speech.errors import SpeechError
from speech.streaming.engine.engine import Engine
from speech.streaming.engine.stats import KEPT, Latest, Meter, Percentiles, percentiles
from tests.streaming.engine.small import FRONT, LSTM, SmallModel


def test_percentiles() -> None:
    measured = Latest()
    assert percentiles(measured) == Percentiles()
    for i in range(101):
        measured.append(i / 100)
    found = percentiles(measured)
    assert (found.count, found.most) == (101, 1.0)
    assert (found.p50, found.p90, found.p99) == pytest.approx((0.5, 0.9, 0.99))


def test_steps_are_counted_by_their_name() -> None:
    meter = Meter()
    for rows in (1, 3):
        meter.step("a", rows, 0.1, rows * 0.2)
    meter.step("b", 1, 0.5, 0.0)
    a, b = meter.steps["a"].stats(), meter.steps["b"].stats()
    assert (a.steps, a.rows, a.real_time_factor) == (2, 2.0, pytest.approx(0.25))
    assert (b.steps, b.rows, b.real_time_factor) == (1, 1.0, 0.0) and b.seconds.most == 0.5


def test_the_share_of_time_is_that_of_the_last_seconds() -> None:
    meter, now = Meter(), time.monotonic()
    assert meter.share() == 0.0
    for ago, length in ((20, 5.0), (3, 1.0), (1, 1.5)):
        meter.busy.append(now - ago, length)
    assert meter.share() == pytest.approx(0.25, rel=0.01)
    for i in range(KEPT):  # more than are kept in ten seconds
        meter.busy.append(now + i * 1e-6, 1e-3)
    assert meter.share() == pytest.approx(1.0, rel=0.01)


def test_percentiles_can_begin_anew() -> None:
    with Engine(SmallModel(), 4, kinds=(LSTM,)) as engine, engine.open() as session:
        session.push(LSTM.noise(30))
        session.end()
        assert sum(map(len, session)) == 30
        before, after = engine.stats(restart=True), engine.stats()
    assert before.latency.count == 1 and before.steps["kind 0"].seconds.count == before.overhead.count == 10
    assert after.latency.count == after.overhead.count == after.steps["kind 0"].seconds.count == 0
    assert (after.inputs, after.steps["kind 0"].steps) == (before.inputs, 10)


def _loads(engine: Engine) -> tuple[float, float]:
    stats = engine.stats()
    return stats.needed, stats.load


def test_what_leaves_is_no_load() -> None:
    with Engine(SmallModel(), 4, kinds=(FRONT, LSTM)) as engine:
        sessions = [engine.open(kind=i % 2) for i in range(4)]
        loads = [_loads(engine)]
        for session in sessions:
            session.close()
            while engine.stats().sessions > 4 - len(loads):
                time.sleep(0.001)
            loads.append(_loads(engine))
    for shares in zip(*loads, strict=True):
        assert list(shares) == sorted(shares, reverse=True) and shares[-1] == 0.0 < shares[-2]


def test_prometheus_reads_what_the_snapshot_says() -> None:
    with Engine(SmallModel(), 4, kinds=(FRONT, LSTM)) as engine, engine.open(kind=1), engine.open(kind=1) as session:
        session.push(LSTM.noise(30))
        session.end()
        assert sum(map(len, session)) == 30
        stats, text = engine.stats(), engine.metrics("one")
    json.dumps(stats.to_dict())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {(s.name, *sorted(s.labels.items())): s.value for family in families.values() for s in family.samples}
    one = ("engine", "one")
    for name in ("slots", "sessions", "parked", "queue", "needed", "load"):
        assert families[f"speech_engine_{name}"].type == "gauge"
        assert samples[f"speech_engine_{name}", one] == pytest.approx(getattr(stats, name))
    for name in ("opened", "ended", "failed", "refused", "retried", "inputs", "misses"):
        assert families[f"speech_engine_{name}"].type == "counter"
        assert samples[f"speech_engine_{name}_total", one] == getattr(stats, name)
    assert (stats.slots, stats.sessions, stats.opened, stats.ended, stats.inputs) == (4, 1, 2, 1, 2)
    step, label = stats.steps["kind 1"], ("step", "kind 1")
    assert samples["speech_engine_rows_count", one, label] == step.steps == 10
    assert samples["speech_engine_rows_sum", one, label] == step.steps * step.rows
    assert samples["speech_engine_real_time_factor", one, label] == pytest.approx(step.real_time_factor)
    for of, found in (("step kind 1", step.seconds), ("latency", stats.latency), ("overhead", stats.overhead)):
        for quantile, value in (("0.5", found.p50), ("0.9", found.p90), ("0.99", found.p99), ("1", found.most)):
            assert samples["speech_engine_seconds", one, ("of", of), ("quantile", quantile)] == pytest.approx(value)


def test_metrics_without_the_library_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with Engine(SmallModel(), 1) as engine, pytest.raises(SpeechError, match="pip install prometheus_client"):
        engine.metrics()
