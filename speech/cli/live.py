"""How `speech listen` shows what is heard, and what it measures while doing so."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from speech.cli.output import emit

if TYPE_CHECKING:
    from speech.asr.events import Event


class Screen:
    """Shows events as they come. A context: what it draws is left in order at its end."""

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Show one event."""
        raise NotImplementedError


class Lines(Screen):
    """Every event as a line of JSON."""

    def show(self, event: Event) -> None:
        emit(event.to_dict())


class Pipe(Screen):
    """For a file or a pipe: words are written once they are stable, a line ends with its utterance."""

    def __init__(self) -> None:
        self.written = 0

    def show(self, event: Event) -> None:
        from speech.asr.events import Final, Partial

        if isinstance(event, Partial):
            self._write(event.text[: event.stable].rstrip())
        elif isinstance(event, Final):
            self._write(event.text + "\n")
            self.written = 0

    def _write(self, text: str) -> None:
        sys.stdout.write(text[self.written :])
        sys.stdout.flush()
        self.written = max(self.written, len(text))


class Terminal(Screen):
    """For a terminal: the running utterance is redrawn in place, what may still change is dim; finals stay as lines."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self.console = Console(highlight=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True, vertical_overflow="visible")
        self.stack = ExitStack()

    def __enter__(self) -> Screen:
        self.stack.enter_context(self.live)
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def show(self, event: Event) -> None:
        from rich.text import Text

        from speech.asr.events import Final, Partial

        if isinstance(event, Partial):
            running = Text.assemble(event.text[: event.stable], (event.text[event.stable :], "dim"))
            self.live.update(running, refresh=True)
        elif isinstance(event, Final):
            self.live.update(Text(), refresh=True)
            self.console.print(Text(event.text))


def screen(as_json: bool) -> Screen:
    """The way to show events that fits standard output."""
    if as_json:
        return Lines()
    return Terminal() if sys.stdout.isatty() else Pipe()


@dataclass
class Timings:
    """What a live run took: audio heard and time spent computing (seconds), and the latency of every partial (seconds).

    The latency of a partial runs from the arrival of the newest audio it was made from to the event.
    """

    audio: float = 0.0
    busy: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], Iterable[Event]], arrival: float) -> list[Event]:
        """The events of one push or flush. arrival: `time.perf_counter()` when the newest audio was there."""
        from speech.asr.events import Partial

        begin = time.perf_counter()
        events = list(work())
        now = time.perf_counter()
        self.busy += now - begin
        self.latencies += [now - arrival for event in events if isinstance(event, Partial)]
        return events

    def to_dict(self) -> dict[str, Any]:
        """Plain data: seconds, and milliseconds for latencies; None where nothing was measured."""
        ordered = sorted(self.latencies)

        def at(quantile: float) -> float | None:
            return round(1000 * ordered[round(quantile * (len(ordered) - 1))], 1) if ordered else None

        return {
            "type": "timings",
            "audio": round(self.audio, 3),
            "real_time_factor": round(self.busy / self.audio, 4) if self.audio else None,
            "partials": len(ordered),
            "latency_median_ms": at(0.5),
            "latency_p95_ms": at(0.95),
        }

    def __str__(self) -> str:
        t = self.to_dict()
        line = f"{t['audio']:.1f} s of audio"
        if t["real_time_factor"] is not None:
            line += f", real-time factor {t['real_time_factor']:.3f}"
        if self.latencies:
            line += (
                f", {t['partials']} partials, from audio to words {t['latency_median_ms']:.0f} ms (median), "
                f"{t['latency_p95_ms']:.0f} ms (95 %)"
            )
        return line
