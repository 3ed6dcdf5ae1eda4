"""The engine: many live streams of one model, stepped together in batches."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from inspect import signature
from typing import Any, Protocol, TypeVar

import torch

from speech.errors import SpeechError
from speech.kernels.linear import padded_rows
from speech.streaming.arena import Full
from speech.streaming.closing import Closing
from speech.streaming.engine.config import EngineConfig, whole
from speech.streaming.engine.host import Host, Preparing, Regular
from speech.streaming.engine.load import Cost, foreseen, measured, needed
from speech.streaming.engine.scheduler import Scheduler
from speech.streaming.engine.session import AsyncSession, Session
from speech.streaming.engine.stats import COUNTERS, Stats, percentiles, prometheus
from speech.streaming.lane import Lane

R = TypeVar("R")

RETRY = 1.0  # seconds after which to ask again, as long as nothing is known of when sessions end


def _over() -> SpeechError:
    return SpeechError("expected a running engine, but it was closed: start another")


class Hostable(Protocol):
    """A model that an engine can run."""

    @property
    def host(self) -> Callable[..., Host]:
        """Room for so many streams (`slots`), with options of the model's own."""
        ...


class Engine(Closing):
    """One model, `slots` streams at once, and a thread that steps them.

    model: a recogniser, synthesiser or converter; options: of its `host`. Of the streams that ask for a step, the one
    that is due first takes along all whose step is of the same kind. What a stream gives does not depend on the others;
    one that breaks off does so alone. A context manager; several engines may share a device.

    Raises SpeechError for what is no model, for options that it does not have, and without slots.
    """

    def __init__(self, model: Hostable, slots: int = 16, config: EngineConfig | None = None, **options: Any) -> None:
        if not hasattr(model, "host"):
            raise SpeechError(f"expected a model that can be hosted, got {model!r}: pass what speech.load returns")
        if not whole(slots, 1):
            raise SpeechError(f"expected at least one slot, got {slots!r}: give the engine room for a stream")
        if not isinstance(config, EngineConfig | None):
            raise SpeechError(f"expected settings as an EngineConfig, got {config!r}: pass EngineConfig(...)")
        self.config, self.slots = config or EngineConfig(), slots
        _fitting(model.host, options)
        self.host = model.host(slots, **options)
        steps = {step.lane: step for step in self.host.regular}
        costs: dict[Lane, Cost] = {}
        for lane, step in steps.items():  # no comprehension, which Python 3.11 counts as a caller of what warns
            costs[lane] = prepared(step, self.config, slots)
        self._scheduler = Scheduler(self.config, slots, self.host.seconds, steps, costs)
        self._orders: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._news, self._stopping, self._ordering = threading.Event(), False, threading.Lock()
        self._thread = threading.Thread(target=self._run, name="speech-engine", daemon=True)
        self._thread.start()

    def open(self, **options: Any) -> Session:
        """Begin a stream; options: as the model's host takes them (sample_rate, voice ...).

        Raises `Full`, with a hint when to ask again, where there is no slot or no time for it, and SpeechError for
        options that do not fit.
        """
        self._prepare(options)
        return self._ordered(lambda: self._open(options)).result()

    async def connect(self, **options: Any) -> AsyncSession:
        """As `open`, for an event loop."""
        await asyncio.to_thread(self._prepare, options)
        opening = self._ordered(lambda: self._open(options))
        try:
            return AsyncSession(await asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_unwanted)
            raise
        finally:
            del opening  # as in `_obey`

    def park(self, session: Session) -> None:
        """Move a stream's state to host memory until its next input. Raises SpeechError while it has input."""
        self._ordered(lambda: self._scheduler.park(session)).result()

    def stats(self, *, restart: bool = False) -> Stats:
        """Numbers of this moment. restart: percentiles are from now on of what comes."""
        return self._ordered(lambda: self._stats(restart)).result()

    def metrics(self, name: str = "speech") -> str:
        """The numbers in Prometheus' text format; name: of the engine, among several.

        Raises SpeechError without the library prometheus_client.
        """
        return prometheus(self.stats(), name)

    def close(self) -> None:
        """End all sessions at once, and the thread. Closing twice is fine."""
        with self._ordering:
            self._stopping = True
        self._news.set()
        self._thread.join()

    def _prepare(self, options: dict[str, Any]) -> None:
        """What can be done of opening a stream outside of the engine's thread, which others wait for."""
        _fitting(self.host.open, options)
        if isinstance(self.host, Preparing):
            self.host.prepare(**options)

    # in the engine's thread

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                self._work()
        finally:  # nobody must wait for a thread that is gone
            with self._ordering:
                self._stopping = True
            for stream in [*self._scheduler.streams.values()]:
                self._scheduler.leave(stream, _over())
            self._obey(_over())

    def _work(self) -> None:
        while not self._stopping:
            self._obey()
            begun = time.perf_counter()
            self._scheduler.gather()
            if not self._scheduler.step(begun) and self._news.wait(timeout=1.0):
                self._news.clear()
                self._await_tick()

    def _await_tick(self) -> None:
        """Leave others the time to come that will go with what has just come. Ticks are the same for all engines."""
        if self.config.tick:
            time.sleep(self.config.tick - time.monotonic() % self.config.tick)

    def _obey(self, refusal: SpeechError | None = None) -> None:
        """Do what other threads asked for."""
        while self._orders:
            work, future = self._orders.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if refusal:
                    raise refusal
                future.set_result(work())
            except Exception as error:  # it belongs to who asked
                future.set_exception(error)
            del work, future  # the traceback of an error leads here, and would lead back to the error

    def _wake(self, session: Session) -> None:
        self._scheduler.wake(session)
        self._news.set()

    def _ordered(self, work: Callable[[], R]) -> Future[R]:
        """Have the engine's thread do something between two steps."""
        future: Future[R] = Future()
        with self._ordering:
            if self._stopping:
                raise _over()
            self._orders.append((work, future))
        self._news.set()
        return future

    def _open(self, options: dict[str, Any]) -> Session:
        scheduler = self._scheduler
        try:
            scheduler.make_room()
            hosted = self.host.open(**options)
            share = self._needed(scheduler.regular(hosted))
            if scheduler.streams and share > self.config.most_load:
                hosted.close()
                raise Full(
                    f"expected a load of at most {self.config.most_load:.0%}, got {share:.0%} with one stream more: "
                    "wait for a session to end"
                )
        except Full as error:
            scheduler.meter.counts["refused"] += 1
            raise Full(f"{error} (about {self._retry():.1f} s)", self._retry()) from None
        session = Session(hosted, self.host.backlog, self.config.results, self._wake)
        scheduler.add(session)
        return session

    def _needed(self, more: Iterable[Regular] = ()) -> float:
        """The share of time that the streams, and one that takes these steps besides, cannot do without."""
        scheduler, window = self._scheduler, max(self.config.tick, self.host.seconds / 4)
        return needed(scheduler.kinds + Counter(more), scheduler.costs, scheduler.most, window)

    def _retry(self) -> float:
        """Seconds in which a session ends, by how the last ones did."""
        ends = self._scheduler.ends
        if len(ends) < 2:
            return RETRY
        return min(max((time.monotonic() - ends[0]) / (len(ends) - 1), 0.1), 60.0)

    def _stats(self, restart: bool) -> Stats:
        scheduler, meter = self._scheduler, self._scheduler.meter
        stats = Stats(
            slots=self.slots,
            sessions=len(scheduler.streams),
            parked=scheduler.parked,
            queue=scheduler.asking,
            needed=self._needed(),
            load=foreseen(scheduler.kinds, scheduler.costs, scheduler.most),
            busy=meter.share(),
            latency=percentiles(meter.latencies),
            overhead=percentiles(meter.overheads),
            steps={name: step.stats() for name, step in meter.steps.items()},
            **{name: meter.counts[name] for name in COUNTERS},
        )
        if restart:
            meter.restart()
        return stats


def _fitting(call: Callable[..., Any], options: dict[str, Any]) -> None:
    """Raises SpeechError for options that `call` does not take."""
    known = {name: kind for name, kind in signature(call).parameters.items() if name != "slots"}
    unknown = [] if any(p.kind is p.VAR_KEYWORD for p in known.values()) else [n for n in options if n not in known]
    if unknown:
        raise SpeechError(f"expected options of {', '.join(known)}, got {', '.join(unknown)}: leave that out")


def _unwanted(opening: Future[Session]) -> None:
    """Nobody waits any more for the session that was asked for."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def prepared(step: Regular, config: EngineConfig, slots: int) -> Cost:
    """Warm a step up in all its sizes, have it captured where that can be, and measure it."""
    lane, sizes = step.lane, [size for size in config.buckets if size <= slots]
    if config.graphs and lane.captures:
        try:
            for size in reversed(sizes):  # the largest first, in whose memory the others fit
                lane.capture(size, step.count, step.phase, step.shape, step.dtype)
        except (RuntimeError, torch.AcceleratorError) as error:
            lane.graphs.clear()
            warnings.warn(f"steps of the {step.name or 'network'} run without graphs: {error}", stacklevel=3)
    if not lane.padded:  # batches of all sizes will come, so meet all that take memory of their own
        sizes = sorted({min(padded_rows(rows), sizes[-1]) for rows in range(1, sizes[-1] + 1)})
    return measured(step, sizes)
