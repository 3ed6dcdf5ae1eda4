"""`speech listen`: a microphone, or a file at the speed of its sound, to words as they are spoken."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from speech.cli import recogniser as options
from speech.cli.live import Screen, Timings, screen
from speech.cli.output import AsJson, emit, note
from speech.errors import SpeechError

if TYPE_CHECKING:
    import numpy as np

    from speech.asr.live import LiveStream
    from speech.audio.file import Channel, Pcm
    from speech.audio.vad import VoiceActivity

BLOCK_SECONDS = 0.02


def listen(
    microphone: Annotated[
        str | None, typer.Option(metavar="NAME|NUMBER", help="One of `speech devices`; by default the system's.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--input", metavar="FILE|-", help="Play a file at real speed, or read from a pipe.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="With --input: as fast as the machine can.")] = False,
    raw: options.Raw = None,
    channel: options.Which = None,
    voice: Annotated[
        bool, typer.Option("--voice", help="Watch for voice too: lines end sooner after it stops.")
    ] = False,
    model: options.Model = "asr",
    look_ahead: options.LookAhead = None,
    decoder: options.Decoder = None,
    chunk: options.Chunk = None,
    language: options.Language = None,
    task: options.Task = None,
    beam: options.Beam = None,
    prompt: options.Prompt = None,
    device: options.Device = None,
    threads: options.Threads = None,
    as_json: AsJson = False,
) -> None:
    """Show words as they are spoken, until Ctrl-C or the end of the input; the last words come out in any case."""
    headerless, which = options.pcm(raw), options.channel(channel)
    chosen = {"chunk": chunk, "language": language, "task": task, "beam": beam, "prompt": prompt}
    threads = threads or 1  # short steps gain nothing from more
    recogniser = options.load(model, device, threads, look_ahead=look_ahead, decoder=decoder, **chosen)
    rate, timings = recogniser.sample_rate, Timings()
    with recogniser.stream(rate, voice=_voice_activity() if voice else None) as stream:
        if stream.remark:
            note(stream.remark)
        if file is not None:
            source = Recording(file, rate, headerless, which, paced=not fast and file != "-")
            failure = _run(source, stream, screen(as_json), timings)
        else:
            from speech.audio.device import Microphone

            with Microphone(microphone, rate, 1e3 * BLOCK_SECONDS) as source:
                note(f"listening to '{source.device.name}', Ctrl-C ends")
                failure = _run(source, stream, screen(as_json), timings)
            if source.overflows:
                note(f"the sound card lost sound {source.overflows} times: this machine is too slow or too busy")
    if as_json:
        emit(timings.to_dict())
    elif timings.audio or not failure:
        note(str(timings))
    if failure:
        raise failure


def _voice_activity() -> VoiceActivity:
    from speech.audio.vad import VoiceActivity

    return VoiceActivity()


class Source(Protocol):
    """Blocks of samples as they arrive, float32 [n]."""

    @property
    def backlog(self) -> float:
        """Seconds for which the newest block has been waiting."""
        ...

    def stop(self) -> None:
        """End the iteration soon; may be called at any moment."""
        ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


class Recording:
    """A file or standard input as a source; `paced`: a block comes when its last sample would have been recorded."""

    def __init__(
        self, path: str, sample_rate: int, pcm: Pcm | None = None, channel: Channel = None, *, paced: bool = True
    ) -> None:
        self.path, self.sample_rate, self.pcm, self.paced = path, sample_rate, pcm, paced
        self.channel: Channel = channel
        self._stopped = threading.Event()
        self._due = 0.0

    @property
    def backlog(self) -> float:
        """Seconds that have passed since the newest block was due."""
        return max(0.0, time.perf_counter() - self._due) if self.paced else 0.0

    def stop(self) -> None:
        """End the iteration before the next block."""
        self._stopped.set()

    def __iter__(self) -> Iterator[np.ndarray]:
        from speech.audio.file import blocks

        self._due = time.perf_counter()
        for block in blocks(self.path, self.sample_rate, BLOCK_SECONDS, pcm=self.pcm, channel=self.channel):
            if self.paced:
                self._due += len(block) / self.sample_rate
                self._stopped.wait(max(0.0, self._due - time.perf_counter()))
            if self._stopped.is_set():
                return
            yield block


def _run(source: Source, stream: LiveStream, view: Screen, timings: Timings) -> SpeechError | None:
    """Show what is heard until the source ends or breaks; the words up to there come out, the error is returned."""
    failure = None
    with view, _ending(source.stop):
        arrival = time.perf_counter()
        try:
            for block in source:
                arrival = time.perf_counter() - source.backlog
                for event in timings.measure(lambda block=block: stream.push(block), arrival):
                    view.show(event)
        except SpeechError as error:
            failure = error
        for event in timings.measure(stream.flush, arrival):
            view.show(event)
    timings.audio = stream.duration
    return failure


@contextmanager
def _ending(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or termination calls `stop`; a second one has its usual effect."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    usual = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number in numbers:
            signal.signal(number, usual[number])

    def first(number: int, frame: FrameType | None) -> None:
        restore()
        stop()

    for number in numbers:
        signal.signal(number, first)
    try:
        yield
    finally:
        restore()
