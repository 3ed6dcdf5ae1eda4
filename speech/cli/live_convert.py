"""`speech convert --live`: a microphone, or a file at the speed of its sound, in another voice to the speaker."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech.cli.keys import Pressed, keys
from speech.cli.outlet import terminable
from speech.cli.output import emit, note, table
from speech.errors import SpeechError

if TYPE_CHECKING:
    from speech.audio.duplex import Recording, Source
    from speech.vc.converter import Converter
    from speech.vc.delay import Delay
    from speech.vc.live import Live, Status

STATUS_SECONDS = 1.0
KEYS = "keys: p your own voice, m mute, t next target, q quit"

Others = Annotated[
    str | None, typer.Option("--targets", metavar="A,B,...", help="With --live: further targets, for the key t.")
]
Microphone = Annotated[
    str | None, typer.Option(metavar="NAME|NUMBER", help="With --live: one of `speech devices`; else the system's.")
]
Speaker = Annotated[
    str | None, typer.Option(metavar="NAME|NUMBER", help="With --live: one of `speech devices`; else the system's.")
]
Input = Annotated[
    str | None, typer.Option("--input", metavar="FILE", help="With --live: play a file instead of the microphone.")
]
Budget = Annotated[
    float | None, typer.Option("--budget", metavar="MS", help="With --live: time to convert a chunk; else measured.")
]
Buffer = Annotated[
    float, typer.Option("--buffer", metavar="MS", help="With --live: that each device may hold back; less is sooner.")
]
Gate = Annotated[
    float, typer.Option("--gate", metavar="DB", help="With --live: long silence below this rests; 0 never rests.")
]
Seconds = Annotated[float | None, typer.Option("--seconds", metavar="S", help="With --live: end after so long.")]
Dry = Annotated[bool, typer.Option("--dry", help="With --live: begin with your own voice, at the same delay.")]


@dataclass(frozen=True)
class Options:
    """What to run: devices by name or number (None: the system's), a recording instead of the microphone, milliseconds.

    budget: for computing a chunk (None: measured). buffer: of each device. gate: level in dB of full scale below which
    sound counts as silence (None: all is converted). seconds: after which it ends (None: never, or with the recording).
    dry: begin with the voice as it is. Raises SpeechError for a time that is not above 0.
    """

    microphone: str | None = None
    speaker: str | None = None
    recording: str | None = None
    budget: float | None = None
    buffer: float = 60.0
    gate: float | None = -55.0
    seconds: float | None = None
    dry: bool = False

    def __post_init__(self) -> None:
        for name in ("budget", "buffer", "seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise SpeechError(f"expected --{name} above 0, got {value:g}: leave it out for the usual")


def convert_live(converter: Converter, targets: Sequence[str], options: Options, as_json: bool = False) -> None:
    """Convert until Ctrl-C, `q`, or the end of the recording.

    targets: as `Converter.take_up` takes them, the first is heard first. Raises SpeechError for a device or a target
    that is not there.
    """
    from speech.audio.device import rescan
    from speech.audio.duplex import Playback
    from speech.vc.ends import Mode
    from speech.vc.live import Live, Settings

    names = [converter.take_up(target) for target in targets] or [converter.take_up(None)]
    source, recording = _source(converter, options)
    sink = Playback(options.speaker, converter.output_rate, options.buffer / 1e3)
    settings = Settings(budget=options.budget and options.budget / 1e3, gate=options.gate)
    live = Live(lambda rate, out: converter.stream(rate, names[0], out), source, sink, settings, rescan)
    live.mode = Mode.DRY if options.dry else Mode.CONVERTED
    with _running(live):
        note(f"measuring '{source.name}', '{sink.name}' and this machine")
        delay = live.prepare()
        _state(delay, as_json)
        live.begin()
        if recording is not None:
            recording.play()
        with keys() as pressed:
            note(f"converting, Ctrl-C ends{f'; {KEYS}' if pressed else ''}")
            _watch(live, names, pressed, recording, options.seconds, as_json)


def _source(converter: Converter, options: Options) -> tuple[Source, Recording | None]:
    from speech.audio.duplex import Capture, Recording

    if options.recording is None:
        return Capture(options.microphone, converter.sample_rate, options.buffer / 1e3), None
    from speech.audio.file import read

    audio = read(options.recording, converter.sample_rate)
    recording = Recording(audio.samples, audio.sample_rate, options.recording)
    return recording, recording


@contextmanager
def _running(live: Live) -> Iterator[None]:
    """Within, Ctrl-C and being asked to terminate end quietly; the devices are closed in any case."""
    try:
        with terminable():
            yield
    except KeyboardInterrupt:
        note("stopped")
    finally:
        live.stop()


def _watch(
    live: Live,
    names: Sequence[str],
    pressed: Pressed | None,
    recording: Recording | None,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Show how it runs each second, do what keys say, and wait for devices that are gone."""
    others = cycle([*names[1:], names[0]])
    begin = due = time.monotonic()
    over = None
    while seconds is None or time.monotonic() - begin < seconds:
        if recording is not None and recording.ended:
            over = over or time.monotonic() + live.delay.total + STATUS_SECONDS / 2
            if time.monotonic() >= over:
                break
        if not live.healthy and not _wait_for_devices(live, pressed):
            break
        due = max(due + STATUS_SECONDS, time.monotonic())
        while (left := due - time.monotonic()) > 0:
            if not _obey(_key(pressed, left), live, others):
                return
        _show(live.status(), as_json)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _key(pressed: Pressed | None, seconds: float) -> str:
    if pressed is not None:
        return pressed(seconds)
    time.sleep(seconds)
    return ""


def _obey(key: str, live: Live, others: Iterator[str]) -> bool:
    """Do what a key says; false to quit. Keys that mean nothing are ignored."""
    from speech.vc.ends import Mode

    if key in ("p", "m"):
        wanted = Mode.DRY if key == "p" else Mode.MUTED
        live.mode = Mode.CONVERTED if live.mode is wanted else wanted
    elif key == "t":
        live.target = next(others)
        live.mode = Mode.CONVERTED
    return key != "q"


def _wait_for_devices(live: Live, pressed: Pressed | None) -> bool:
    """Wait until lost devices are back; false when a key says to quit."""
    lost = " and ".join(f"'{end.name}'" for end in (live.source, live.sink) if not end.alive)
    note(f"no sound passes {lost} any more: plug it in again, conversion goes on by itself")
    while not _resumed(live):
        if _key(pressed, STATUS_SECONDS) == "q":
            return False
    note("sound is back")
    return True


def _resumed(live: Live) -> bool:
    """Whether lost devices are back. ALSA and PortAudio, which print every attempt that fails, are not heard."""
    sys.stderr.flush()
    usual = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        return live.resume()
    finally:
        os.dup2(usual, 2)
        os.close(usual)


def _state(delay: Delay, as_json: bool) -> None:
    """Say what the delay will be and what it is made of."""
    parts = {name: 1e3 * seconds for name, seconds in delay.parts.items()}
    if as_json:
        emit({"type": "delay", "parts_ms": {k: round(v, 2) for k, v in parts.items()}, "total_ms": _ms(delay.total)})
    else:
        table(("part", "milliseconds"), [(k, f"{v:6.1f}") for k, v in [*parts.items(), ("total", 1e3 * delay.total)]])


def _show(status: Status, as_json: bool) -> None:
    if as_json:
        emit({"type": "status", **_plain(status)})
        return
    p = _plain(status)
    told = "nothing heard yet" if p["delay_median_ms"] is None else f"delay {p['delay_median_ms']:.0f} ms"
    if p["delay_p99_ms"] is not None:
        told += f" (99 %: {p['delay_p99_ms']:.0f})"
    told += f", real-time factor {status.factor:.2f}, dropped {status.dropped}, missing {p['missing_ms']:.0f} ms"
    told += f", muted {status.muted}, {status.mode.value}{', asleep' if status.asleep else ''}, to {status.target}"
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{told}", end="", file=sys.stderr, flush=True)
    else:
        note(told)


def _plain(status: Status) -> dict[str, Any]:
    """Plain data; milliseconds."""
    return {
        "delay_median_ms": _ms(status.delay_median),
        "delay_p99_ms": _ms(status.delay_p99),
        "real_time_factor": round(status.factor, 4),
        "dropped": status.dropped,
        "missing_ms": _ms(status.missing),
        "muted": status.muted,
        "corrected": status.corrected,
        "jumps": status.jumps,
        "asleep": status.asleep,
        "mode": status.mode.value,
        "target": status.target,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 2)
