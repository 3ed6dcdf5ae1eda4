"""Speech as it is made, of text that is there or still on its way."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from numbers import Real
from types import TracebackType
from typing import Self

from speech.errors import SpeechError
from speech.tts.session import Session, Speech
from speech.tts.stages import Stages

Texts = str | Iterable[str] | AsyncIterable[str]
"""A text, or pieces of one as they arrive."""


class Stream:
    """Speech that is being made: iterate over it, with `for` or, to let other tasks run meanwhile, `async for`.

    An asynchronous iterator of text wants `async for`. When the text breaks off with an error or does not go on within
    the patience, what has come is spoken to its end first; then SpeechError is raised. `cancel`, from any thread or
    task, ends it at the next code.

    Raises SpeechError for what is neither text nor gives any, and for a patience that is no number of seconds.
    """

    def __init__(self, session: Session, text: Texts, patience: float | None) -> None:
        if isinstance(text, bytes | bytearray) or not isinstance(text, str | Iterable | AsyncIterable):
            raise SpeechError(f"expected a text or pieces of one, got {type(text).__name__}: pass strings")
        if patience is not None and not (isinstance(patience, Real) and 0 <= patience <= threading.TIMEOUT_MAX):
            raise SpeechError(f"expected a patience of 0 seconds or more, or none, got {patience!r}: correct it")
        self._session, self._text, self._patience = session, text, patience
        self._sound = iter(()) if isinstance(text, AsyncIterable) else self._speak(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        self._session.close()

    @property
    def warnings(self) -> list[str]:
        """One sentence for each thing in the text so far that was not understood."""
        return self._session.warnings

    @property
    def stages(self) -> Stages:
        """Seconds of computing so far, by stage."""
        return self._session.stages

    def cancel(self) -> None:
        """Say no more."""
        self._session.cancelled.set()

    def __iter__(self) -> Iterator[Speech]:
        if isinstance(self._text, AsyncIterable):
            raise SpeechError(
                "expected `async for` over speech whose text comes from an asynchronous iterator, got `for`"
            )
        return self._sound

    def __aiter__(self) -> AsyncIterator[Speech]:
        return self._speak_async()

    def _speak(self, text: str | Iterable[str]) -> Iterator[Speech]:
        """The text's speech. What goes wrong with the text is told after what it gave has been said."""
        failure: SpeechError | None = None
        pieces = _patient([text] if isinstance(text, str) else text, self._patience)
        while not self._session.cancelled.is_set():
            try:
                piece = next(pieces)
            except StopIteration:
                break
            except Exception as error:
                failure = _broken(error)
                break
            if not isinstance(piece, str):
                failure = SpeechError(f"expected pieces of text, got {type(piece).__name__}: pass strings")
                break
            yield from self._session.push(piece)
        try:
            yield from self._session.flush()
        except SpeechError:
            if failure is None:
                raise
        if failure is not None:
            raise failure

    async def _speak_async(self) -> AsyncIterator[Speech]:
        """The same for tasks: the computing runs in a thread."""
        if isinstance(self._text, AsyncIterable):
            sound = self._speak(_bridged(self._text, asyncio.get_running_loop(), self._session.cancelled))
        else:
            sound = self._sound
        try:
            while (part := await asyncio.to_thread(next, sound, None)) is not None:
                yield part
        finally:
            self.cancel()


def _patient(texts: Iterable[str], patience: float | None) -> Iterator[str]:
    """The pieces of text. Raises SpeechError when the next one does not come within `patience` seconds."""
    if patience is None:
        yield from texts
        return
    pieces: queue.SimpleQueue[tuple[str | None, Exception | None]] = queue.SimpleQueue()

    def pull() -> None:
        try:
            for piece in texts:
                pieces.put((piece, None))
            pieces.put((None, None))
        except Exception as error:  # whatever the source raises is told by the stream
            pieces.put((None, error))

    threading.Thread(target=pull, daemon=True).start()
    while True:
        try:
            piece, error = pieces.get(timeout=patience)
        except queue.Empty:
            raise SpeechError(
                f"expected more text, none came for {patience:g} s: close its source when it ends"
            ) from None
        if error is not None:
            raise error
        if piece is None:
            return
        yield piece


def _bridged(texts: AsyncIterable[str], loop: asyncio.AbstractEventLoop, cancelled: threading.Event) -> Iterator[str]:
    """The pieces of an asynchronous iterator that lives on `loop`, for another thread."""
    iterator = aiter(texts)

    async def following() -> str | None:
        return await anext(iterator, None)

    while True:
        piece = asyncio.run_coroutine_threadsafe(following(), loop)
        while not cancelled.is_set():
            try:
                text = piece.result(timeout=0.05)
                break
            except TimeoutError:
                if piece.done():  # raised by the iterator itself
                    raise
        else:
            piece.cancel()
            return
        if text is None:
            return
        yield text


def _broken(error: Exception) -> SpeechError:
    if isinstance(error, SpeechError):
        return error
    return SpeechError(f"expected the text to go on, but its source failed: {type(error).__name__}: {error}")
