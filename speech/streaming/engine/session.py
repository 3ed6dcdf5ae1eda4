"""What users hold of a stream in an engine: inputs go in, results come out, from threads or from an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sized
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from speech.errors import SpeechError
from speech.streaming.closing import Closing
from speech.streaming.engine.host import Hosted

END = object()
"""The input behind the last one."""


class Backlog(SpeechError):
    """More came than a stream can hold until it is worked off, or until its results are taken."""


class Session(Closing):
    """A stream in an engine, for threads: `push` inputs, iterate over the results, `end`. A context manager.

    Results come in order, and all of them: where nobody takes them, the stream waits once `results` lie there, and
    then its inputs wait, up to `backlog` of them by what `len` says. What the stream itself raises is raised by
    iterating, behind the results that came before it.

    One thread may push while another iterates.
    """

    def __init__(self, hosted: Hosted, backlog: int, results: int, wake: Callable[[Session], None]) -> None:
        self.hosted, self._most, self._results = hosted, backlog, results
        self._woken = wake
        self._changed = threading.Condition()
        self._pushing = threading.Lock()
        self._inbox: deque[tuple[Any, float]] = deque()  # what came, and when
        self._waiting = 0  # of the inbox, by `len`
        self._outbox: deque[Any] = deque()
        self._failure: Exception | None = None
        self._ended = self._done = False
        self.listeners: list[Callable[[], None]] = []

    # for users

    def push(self, item: Any) -> None:
        """Give the next input: samples, text, what the model takes. It does not wait.

        Raises SpeechError for an input that is not fit and for a stream that is over, `Backlog` where too much waits;
        the stream goes on without that input.
        """
        self._give(item)

    def end(self) -> None:
        """No more input will come: the results are complete when the iteration ends."""
        with self._changed:
            if self._ended:
                return
            self._ended = True
            self._inbox.append((END, time.monotonic()))
        self._wake()

    def __iter__(self) -> Iterator[Any]:
        """The results as they come, until the stream is over. Raises what went wrong in it."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outbox or self._done)
                over = self._done
            found = self.poll(1)
            if found:
                yield found[0]
            elif over:
                return

    def poll(self, most: int | None = None) -> list[Any]:
        """The results that are there, perhaps none; at most so many. Raises what went wrong in the stream, once they
        are all taken.
        """
        with self._changed:
            clogged, over = self.clogged, self._done
            found = [self._outbox.popleft() for _ in range(min(len(self._outbox), most or len(self._outbox)))]
        if found and clogged:
            self._wake()
        elif over and not found:
            self._raise()
        return found

    def close(self) -> None:
        """Leave: what is still on its way is dropped. Closing twice is fine."""
        with self._changed:
            self._ended = self._done = True
            self._failure = None  # its traceback leads back here
            self._inbox.clear()
            self._outbox.clear()
            self._waiting = 0
            self._changed.notify_all()
        self._wake()

    @property
    def buffered(self) -> int:
        """How much input waits, by what `len` says of it."""
        return self._waiting

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self._done

    # for the engine

    def next_input(self) -> tuple[Any, float] | None:
        """The next input as the stream takes it (or `END`), and when it came."""
        with self._changed:
            if not self._inbox:
                return None
            item, arrived = self._inbox.popleft()
            if item is not END:
                self._waiting -= len(item)
        self._tell()
        return item, arrived

    @property
    def has_input(self) -> bool:
        """Whether an input waits."""
        return bool(self._inbox)

    @property
    def clogged(self) -> bool:
        """Whether as many results lie there as may."""
        return len(self._outbox) >= self._results

    def give(self, result: Any) -> None:
        """Put a result out."""
        with self._changed:
            if not self._done:
                self._outbox.append(result)
            self._changed.notify_all()
        self._tell()

    def finish(self, failure: Exception | None = None) -> None:
        """The stream is over."""
        with self._changed:
            if not self._done:
                self._failure = failure
            self._ended = self._done = True
            self._inbox.clear()
            self._waiting = 0
            self._changed.notify_all()
        self._tell()
        self.listeners.clear()

    # inside

    def _wake(self) -> None:
        self._woken(self)

    def _give(self, item: Any) -> None:
        with self._pushing:
            if self._done and self._failure is not None:
                self._raise()
            if self._ended:
                raise SpeechError("expected an open stream, but it was ended: open another")
            more = len(item) if isinstance(item, Sized) else 0  # what has no length is refused by `taken`
            if self._waiting and self._waiting + more > self._most:
                raise Backlog(
                    f"expected inputs of at most {self._most} to wait, got {self._waiting} that wait and {more} more"
                    f"{' while nobody takes the results' if self.clogged else ''}: push more slowly"
                )
            taken = self.hosted.taken(item)
            with self._changed:
                self._inbox.append((taken, time.monotonic()))
                self._waiting += len(taken)
        self._wake()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()


class AsyncSession:
    """A stream in an engine, for an event loop: `await push`, `async for` over the results. An async context manager.

    `push` waits where too much waits already. Otherwise as `Session`.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._news, self._loop = session, asyncio.Event(), asyncio.get_running_loop()
        session.listeners.append(self._tell)

    async def push(self, item: Any) -> None:
        """Give the next input, once there is room for it. Raises SpeechError as `Session.push` does."""
        while True:
            self._news.clear()
            try:
                return self._session.push(item)
            except Backlog:
                await self._news.wait()

    def end(self) -> None:
        """No more input will come."""
        self._session.end()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            self._news.clear()
            over = self._session.done  # asked first: what came before the end is then there by now
            found = self._session.poll(1)  # no more: those that are not asked for stay where they are
            if found:
                yield found[0]
            elif over:
                return
            else:
                await self._news.wait()

    def close(self) -> None:
        """Leave: what is still on its way is dropped."""
        self._session.close()

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._news.set)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
