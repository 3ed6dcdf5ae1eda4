"""What an engine tells of itself: a snapshot of numbers, and the same as Prometheus reads them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from speech.errors import SpeechError

KEPT = 4096  # measurements, the latest, of which percentiles are taken


@dataclass(frozen=True)
class Percentiles:
    """Of the latest measurements, in seconds; zeros before the first."""

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    most: float = 0.0


@dataclass(frozen=True)
class StepStats:
    """Of one kind of step. rows: the mean in a batch; real_time_factor: time spent for a second of one stream."""

    steps: int
    rows: float
    seconds: Percentiles
    real_time_factor: float


@dataclass(frozen=True)
class Stats:
    """An engine as it stands.

    slots: streams that it takes, sessions: that it has, parked: of them. queue: steps that are asked for. opened,
    ended, failed, refused: sessions so far. retried: steps that failed and were taken again by half of their streams
    each. misses: inputs whose results came after they were due. Shares of time: needed, what the sessions cannot do
    without, by which others are refused; load, what their steps are foreseen to take, as they come together now; busy,
    what steps took in the last seconds. latency: from an input's coming to its results, of inputs that brought a step.
    overhead: all that the engine does beside steps, for each batch.
    """

    slots: int
    sessions: int
    parked: int
    queue: int
    opened: int
    ended: int
    failed: int
    refused: int
    retried: int
    inputs: int
    misses: int
    needed: float
    load: float
    busy: float
    latency: Percentiles
    overhead: Percentiles
    steps: dict[str, StepStats]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass
class Meter:
    """Collects what `Stats` tells, in the engine's thread."""

    counts: Counter[str] = field(default_factory=Counter)
    latencies: Latest = field(default_factory=lambda: Latest())
    overheads: Latest = field(default_factory=lambda: Latest())
    steps: dict[str, StepMeter] = field(default_factory=dict)
    busy: Latest = field(default_factory=lambda: Latest(2))  # end and length of steps

    def step(self, name: str, rows: int, seconds: float, streamed: float) -> None:
        """A step of `rows` rows took `seconds`, for so many seconds of its streams in all."""
        meter = self.steps.setdefault(name, StepMeter())
        meter.count += 1
        meter.rows += rows
        meter.total += seconds
        meter.streamed += streamed
        meter.seconds.append(seconds)
        self.busy.append(time.monotonic(), seconds)

    def restart(self) -> None:
        """Forget single measurements; what was counted stays."""
        for measured in (self.latencies, self.overheads, *(step.seconds for step in self.steps.values())):
            measured.clear()

    def share(self, window: float = 10.0) -> float:
        """The share of the last `window` seconds in which steps were taken."""
        now = time.monotonic()
        recent = self.busy.values
        recent = recent[recent[:, 0] > now - window]
        if not len(recent):
            return 0.0
        first, length = recent[recent[:, 0].argmin()]
        span = now - (first - length) if len(recent) == KEPT else window
        return min(float(recent[:, 1].sum() / span), 1.0)


@dataclass
class StepMeter:
    """Of one kind of step."""

    count: int = 0
    rows: int = 0
    total: float = 0.0
    streamed: float = 0.0
    seconds: Latest = field(default_factory=lambda: Latest())

    def stats(self) -> StepStats:
        """As it stands."""
        factor = self.total / self.streamed if self.streamed else 0.0
        return StepStats(self.count, self.rows / max(self.count, 1), percentiles(self.seconds), factor)


class Latest:
    """The latest `KEPT` measurements of `width` numbers each, in memory that is taken once."""

    def __init__(self, width: int = 1) -> None:
        self._kept, self._count = np.zeros((KEPT, width)), 0

    def append(self, *measurement: float) -> None:
        """Keep one more, in the place of the oldest."""
        self._kept[self._count % KEPT] = measurement
        self._count += 1

    def clear(self) -> None:
        """Forget them."""
        self._count = 0

    @property
    def values(self) -> np.ndarray:
        """All that are kept, in no order: [n, width]."""
        return self._kept[: self._count]


def percentiles(measured: Latest) -> Percentiles:
    """Of what was measured, one number each."""
    x = measured.values
    return Percentiles(len(x), *np.percentile(x, [50, 90, 99, 100]).tolist()) if len(x) else Percentiles()


def prometheus(stats: Stats, engine: str = "speech") -> str:
    """The numbers in Prometheus' text format. engine: the label by which several engines are told apart.

    Raises SpeechError without the library prometheus_client.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError:
        raise SpeechError(
            "expected the library prometheus_client for metrics, got none: pip install prometheus_client"
        ) from None
    registry = CollectorRegistry()
    registry.register(_Collector(stats, engine))
    return generate_latest(registry).decode()


class _Collector:
    """Gives the numbers of one snapshot."""

    def __init__(self, stats: Stats, engine: str) -> None:
        self.stats, self.engine = stats, engine

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

        s = self.stats
        for kind, texts in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for name, text in texts.items():
                family = kind(f"speech_engine_{name}", text, labels=["engine"])
                family.add_metric([self.engine], getattr(s, name))
                yield family
        factor = GaugeMetricFamily(
            "speech_engine_real_time_factor", "Time spent for a second of one stream", labels=["engine", "step"]
        )
        rows = SummaryMetricFamily("speech_engine_rows", "Rows in a batch", labels=["engine", "step"])
        seconds = GaugeMetricFamily(
            "speech_engine_seconds", "Percentiles of the latest measurements", labels=["engine", "of", "quantile"]
        )
        measured = {"latency": s.latency, "overhead": s.overhead}
        for name, step in s.steps.items():
            factor.add_metric([self.engine, name], step.real_time_factor)
            rows.add_metric([self.engine, name], step.steps, step.rows * step.steps)
            measured[f"step {name}"] = step.seconds
        for name, found in measured.items():
            for quantile, value in (("0.5", found.p50), ("0.9", found.p90), ("0.99", found.p99), ("1", found.most)):
                seconds.add_metric([self.engine, name, quantile], value)
        yield from (factor, rows, seconds)


GAUGES = {
    "slots": "Streams that the engine takes",
    "sessions": "Streams that it has",
    "parked": "Streams whose state lies in host memory",
    "queue": "Steps that are asked for",
    "needed": "Share of time that the sessions cannot do without, in batches as large as their deadlines allow",
    "load": "Share of time that the steps of the sessions are foreseen to take",
    "busy": "Share of the last seconds in which steps were taken",
}
COUNTERS = {
    "opened": "Sessions opened",
    "ended": "Sessions that came to their end",
    "failed": "Sessions that broke off",
    "refused": "Sessions refused",
    "retried": "Steps that failed and were taken again by half of their streams each",
    "inputs": "Inputs taken",
    "misses": "Inputs whose results came after they were due",
}
