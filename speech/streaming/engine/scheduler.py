"""Who steps next, and with whom: the streams of an engine, between their inputs and the steps of the networks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.host import Hosted, Regular
from speech.streaming.engine.load import Cost
from speech.streaming.engine.session import END, Session
from speech.streaming.engine.stats import Meter
from speech.streaming.engine.undo import Undo
from speech.streaming.lane import Call, Lane


@dataclass(eq=False)
class Stream:
    """A session as it is worked on."""

    session: Session
    steps: list[Regular]  # those that it takes over and over
    running: Generator[Any, Any, None] | None = None  # what it does with the input at hand
    call: Call | None = None  # the step it waits for
    answer: Any = None
    arrived: float = 0.0  # when the input at hand came
    stepped: bool = False  # whether that input brought a step
    ending: bool = False
    begun: float | None = None  # when the first result was there
    used: float = field(default_factory=time.monotonic)  # when it last had something to do

    def due(self, seconds: float) -> float:
        """When its step should be done: `seconds` behind its input, or before its listener has heard all there is."""
        lead = self.session.hosted.lead
        return self.arrived + seconds if not lead or self.begun is None else max(self.arrived, self.begun) + lead

    @property
    def idle(self) -> bool:
        """Whether it waits for input."""
        return self.running is None and not self.session.has_input


class Scheduler:
    """Streams of one model. Only `wake` may be called from other threads.

    slots: streams that are not parked, at the most. seconds: within which a step is due. steps: the regular ones by
    their lane, costs: what they cost, which is learnt from what they take.
    """

    def __init__(
        self,
        config: EngineConfig,
        slots: int,
        seconds: float,
        steps: Mapping[Lane, Regular],
        costs: Mapping[Lane, Cost],
    ) -> None:
        self.config, self.slots, self.seconds, self.steps, self.costs = config, slots, seconds, steps, costs
        self.most = max(size for size in config.buckets if size <= slots)
        self._undo = Undo((lane.arena for lane in steps), self.most, config.undo)
        self.streams: dict[Session, Stream] = {}
        self.kinds: Counter[Regular] = Counter()
        """How many streams take each of the regular steps."""
        self.meter, self.ends = Meter(), deque([time.monotonic()], maxlen=17)
        self._awake: deque[Session] = deque()  # those that have news
        self._asking: dict[Stream, None] = {}  # those that wait for a step
        self._parked: set[Stream] = set()
        self._spent = 0.0  # seconds of work on what has brought no step so far
        self._shut_out: dict[Stream, None] = {}  # those with input and without a slot, the first one first

    def add(self, session: Session) -> None:
        """Take a session up."""
        stream = self.streams[session] = Stream(session, self.regular(session.hosted))
        self.kinds.update(stream.steps)
        self.meter.counts["opened"] += 1

    def regular(self, hosted: Hosted) -> list[Regular]:
        """The steps that a stream takes over and over."""
        return [self.steps[seat.lane] for seat in hosted.seats if seat.lane in self.steps]

    def wake(self, session: Session) -> None:
        """A session has input, or room for results, or was closed."""
        self._awake.append(session)

    def gather(self) -> None:
        """Let every stream that has news go on, up to its next step."""
        while self._awake:
            stream = self.streams.get(self._awake.popleft())
            if stream is not None and stream.session.done:
                self.leave(stream)
            elif stream is not None:
                self._advance(stream)
        shut_out, self._shut_out = self._shut_out, {}
        for stream in shut_out:
            if stream.session in self.streams:
                self._advance(stream)

    def step(self, begun: float) -> bool:
        """One batch: the stream that is due first, and those whose step is of its kind. Whether there was one.

        begun: when work on it began, by `time.perf_counter`.
        """
        batch = self._batch()
        if not batch:
            self._spent += time.perf_counter() - begun
            return False
        stepping = self._stepped(batch)
        self.meter.overheads.append(self._spent + time.perf_counter() - begun - stepping)
        self._spent = 0.0
        return True

    @property
    def asking(self) -> int:
        """Streams that wait for a step."""
        return len(self._asking)

    def leave(self, stream: Stream, failure: Exception | None = None) -> None:
        """The stream is over: its slots are free again."""
        self._asking.pop(stream, None)
        self._parked.discard(stream)
        self.kinds.subtract(stream.steps)
        del self.streams[stream.session]
        try:
            with ExitStack() as parting:
                parting.callback(stream.session.hosted.close)
                if stream.running is not None:
                    parting.callback(stream.running.close)
        except Exception as error:  # it is this stream's alone
            failure = failure or error
        self.ends.append(time.monotonic())
        self.meter.counts["failed" if failure else "ended"] += 1
        stream.session.finish(failure)

    # slots

    @property
    def parked(self) -> int:
        """Streams whose state lies in host memory."""
        return len(self._parked)

    def make_room(self) -> None:
        """See that a slot is free, beside one for each stream that waits for one already; an idle session may be
        parked for it. Raises `Full` where none is.
        """
        if len(self.streams) - self.parked + len(self._shut_out) < self.slots:
            return
        before = time.monotonic() - self.config.park_after
        idle = [s for s in self.streams.values() if s.idle and s not in self._parked and s.used <= before]
        if self._shut_out or not idle:
            raise Full(f"expected a free slot, but all {self.slots} are in use: close a session or wait for one to end")
        self.park(min(idle, key=lambda s: s.used).session)

    def park(self, session: Session) -> None:
        """Move a stream's state to host memory until its next input. Raises SpeechError while it has input."""
        stream = self.streams.get(session)
        if stream is None or not stream.idle:
            found = "one of another engine or one that is over" if stream is None else "one that has input"
            raise SpeechError(f"expected an idle session of this engine to park, got {found}: wait for its results")
        for seat in session.hosted.seats:
            seat.park()
        self._parked.add(stream)

    def _unparked(self, stream: Stream) -> bool:
        """Whether the stream is in its slots (again); if not, it must wait for one."""
        if stream in self._parked:
            try:
                self.make_room()
            except Full:
                self._shut_out[stream] = None
                return False
            for seat in stream.session.hosted.seats:
                seat.unpark()
            self._parked.discard(stream)
            self._shut_out.pop(stream, None)
        return True

    # streams

    def _advance(self, stream: Stream) -> None:
        """Go on with what a stream does until it asks for a step, waits for input or has too many results."""
        session = stream.session
        try:
            while stream.call is None and not session.clogged and (stream.running or self._begin(stream)):
                if self._resumed(stream):
                    return
        except Exception as error:  # whatever it is, it ends this stream alone
            self.leave(stream, error)

    def _begin(self, stream: Stream) -> bool:
        """Take the stream's next input; whether there is one that can be worked on."""
        session = stream.session
        if not session.has_input or not self._unparked(stream):
            return False
        found = session.next_input()
        if found is None:  # it was closed meanwhile
            return False
        item, stream.arrived = found
        stream.ending, stream.stepped = item is END, False
        stream.running = session.hosted.ending() if stream.ending else session.hosted.feeding(item)
        return True

    def _resumed(self, stream: Stream) -> bool:
        """Send a stream its answer and take what it yields; whether it is over."""
        assert stream.running is not None
        try:
            found, stream.answer = stream.running.send(stream.answer), None
        except StopIteration:
            stream.running, stream.answer = None, None
            self._worked_off(stream)
            if stream.ending:
                self.leave(stream)
            return stream.ending
        if isinstance(found, Call):
            stream.call, stream.stepped = found, True
            self._asking[stream] = None
        else:
            stream.begun = stream.begun or time.monotonic()
            stream.session.give(found)
        return False

    def _worked_off(self, stream: Stream) -> None:
        """Count an input that is done."""
        stream.used, meter = time.monotonic(), self.meter
        meter.counts["inputs"] += 1
        if stream.stepped:
            meter.latencies.append(stream.used - stream.arrived)
            meter.counts["misses"] += stream.used > stream.due(self.seconds)

    # steps

    def _batch(self) -> list[Stream]:
        """The stream that is due first, and those that can go with it, as they are due.

        Those that are late by a whole chunk, as one is that is given a recording at once, come behind those that can
        still be in time.
        """
        if not self._asking:
            return []
        lost = time.monotonic() - self.seconds
        due = {stream: stream.due(self.seconds) for stream in self._asking}
        ranks = {stream: (at < lost, at) for stream, at in due.items()}
        first = min(ranks, key=ranks.__getitem__)
        assert first.call is not None
        key = first.call.key
        alike = [stream for stream in ranks if stream.call is not None and stream.call.key == key]
        return sorted(alike, key=ranks.__getitem__)[: self.most]

    def _stepped(self, batch: list[Stream]) -> float:
        """Step these streams at once and let each go on with its answer; the seconds that the step took."""
        calls = [stream.call for stream in batch if stream.call is not None]
        lane, start, undo = calls[0].seat.lane, time.perf_counter(), None
        try:
            if len(calls) > 1:
                undo = self._undo.keep(lane.arena, [call.seat.slot for call in calls])
            answers = lane.run(calls, self.config.bucket(len(calls)))
        except Exception as error:
            return time.perf_counter() - start + self._failed(batch, undo, error)
        seconds = time.perf_counter() - start
        self._account(lane, calls, seconds)
        for stream, answer in zip(batch, answers, strict=True):
            del self._asking[stream]
            stream.call, stream.answer = None, answer
            self._advance(stream)
        return seconds

    def _failed(self, batch: list[Stream], undo: Callable[[], object] | None, error: Exception) -> float:
        """A step failed, perhaps after it had written state. That is put back and each half of the batch steps by
        itself, until those are left whose own step fails, which break off; the seconds that this took.

        Where the state was not kept, none of the batch can go on as if nothing had happened.
        """
        halves = []
        if undo:
            with suppress(Exception):  # a device that is lost takes nothing back
                undo()
                halves = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        self.meter.counts["retried"] += bool(halves)
        for stream in [] if halves else batch:
            self.leave(stream, error)
        return sum(map(self._stepped, halves))

    def _account(self, lane: Lane, calls: list[Call], seconds: float) -> None:
        """Note what a step took."""
        step = self.steps.get(lane)
        usual = step is not None and len(calls[0].data) == step.count
        if step is not None and usual:
            self.costs[lane].learn(len(calls), seconds, self.kinds[step])
        self.meter.step(
            step.name if step else "other",
            len(calls),
            seconds,
            len(calls) / step.per_second if step is not None and usual else 0.0,
        )
