"""Microphone and loudspeaker, through PortAudio."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, Literal, Self

import numpy as np

from speech.audio.resample import Resampler
from speech.errors import SpeechError

Kind = Literal["input", "output"]
SILENT_SECONDS = 5.0  # a live input brings blocks all the time, silence included
RESERVE = 0.2  # seconds of sound in a speaker's buffer: while it plays, the processor may be busy with other things


@dataclass(frozen=True)
class Device:
    """A sound device: its number and name, the system it belongs to, channels each way, and its own rate in Hz."""

    index: int
    name: str
    system: str
    inputs: int
    outputs: int
    sample_rate: int
    default_input: bool
    default_output: bool


def devices() -> list[Device]:
    """All sound devices, perhaps none. Raises SpeechError where PortAudio is missing."""
    sd = portaudio()
    systems = sd.query_hostapis()
    default_input, default_output = sd.default.device
    return [
        Device(
            index=d["index"],
            name=d["name"],
            system=systems[d["hostapi"]]["name"],
            inputs=d["max_input_channels"],
            outputs=d["max_output_channels"],
            sample_rate=round(d["default_samplerate"]),
            default_input=d["index"] == default_input,
            default_output=d["index"] == default_output,
        )
        for d in sd.query_devices()
    ]


def rescan() -> None:
    """Let devices be found that were plugged in since; no stream may be open."""
    sd = portaudio()
    sd._terminate()
    sd._initialize()


class Microphone:
    """A live input. Inside `with`, iterating yields its sound as mono blocks, float32 [n] at `sample_rate` Hz.

    device: number or part of the name (default: the system's). sample_rate: default, the device's own; a rate that the
    device does not take is resampled to. block_ms: length of a block in milliseconds.

    Blocks wait, any number of them, until they are asked for: `backlog` seconds do. `overflows` counts how often the
    system itself lost sound. Raises SpeechError on opening, and when the device brings nothing any more.
    """

    def __init__(self, device: int | str | None = None, sample_rate: int | None = None, block_ms: float = 20.0) -> None:
        self.device, channels, rate = settle("input", device, sample_rate)
        self.sample_rate = sample_rate or rate
        self.overflows = 0
        self._blocks: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self._block_seconds = max(1, round(rate * block_ms / 1e3)) / rate
        self._resampler = Resampler(rate, self.sample_rate)
        self._stream = open_stream("input", self.device, channels, rate, round(self._block_seconds * rate), self._take)

    def __enter__(self) -> Self:
        self._stream.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._stream.close()

    @property
    def backlog(self) -> float:
        """Seconds of sound that wait to be asked for."""
        return self._blocks.qsize() * self._block_seconds

    def stop(self) -> None:
        """End the recording: iteration yields what waits, then ends. From any thread; again is harmless."""
        if self._stream.active:
            self._stream.stop()
            self._blocks.put(None)

    def __iter__(self) -> Iterator[np.ndarray]:
        while (block := self._next()) is not None:
            if len(ready := self._resampler.push(block)):
                yield ready
        if len(rest := self._resampler.flush()):
            yield rest

    def _next(self) -> np.ndarray | None:
        try:
            return self._blocks.get(timeout=SILENT_SECONDS)
        except queue.Empty:
            raise SpeechError(
                f"expected sound from '{self.device.name}', but none came for {SILENT_SECONDS:g} seconds: "
                "see that it is still plugged in, and start again"
            ) from None

    def _take(self, block: np.ndarray, frames: int, time: Any, status: Any) -> None:
        """PortAudio's thread brings a block [n, channels], in memory that it uses again."""
        self.overflows += bool(status.input_overflow)
        self._blocks.put(block.mean(1))


class Speaker:
    """A live output for mono sound at `sample_rate` Hz. Inside `with`, `write` plays; leaving waits for the end.

    device: number or part of the name (default: the system's). A rate that the device does not take is resampled.
    `underflows` counts how often the device ran dry. Raises SpeechError on opening.
    """

    def __init__(self, sample_rate: int, device: int | str | None = None) -> None:
        self.device, self._channels, rate = settle("output", device, sample_rate)
        self.sample_rate, self.underflows = sample_rate, 0
        self._resampler = Resampler(sample_rate, rate)
        self._stream = open_stream("output", self.device, self._channels, rate, latency=RESERVE)

    def __enter__(self) -> Self:
        self._stream.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._play(self._resampler.flush())
            # PortAudio drops a buffer that is filled in part when it stops: let that be silence
            self._play(np.zeros(round((self._stream.latency + 0.05) * self._stream.samplerate), np.float32))
            self._stream.stop()
        else:
            self._stream.abort()
        self._stream.close()

    def write(self, samples: np.ndarray) -> None:
        """Play mono samples [n]; returns when the device has room for more."""
        self._play(self._resampler.push(samples))

    def _play(self, samples: np.ndarray) -> None:
        if len(samples):
            every = np.repeat(samples[:, None], self._channels, axis=1)
            self.underflows += bool(self._stream.write(every))


def portaudio() -> ModuleType:
    """The package sounddevice. Raises SpeechError where it or the PortAudio library is missing."""
    try:
        import sounddevice
    except ImportError as error:
        raise SpeechError(
            "live sound needs the Python package sounddevice, which is not installed: "
            "pip install 'streaming-speech[live]'"
        ) from error
    except OSError as error:
        raise SpeechError(
            "live sound needs the PortAudio library, which was not found: install it, on Debian and Ubuntu with "
            "apt-get install libportaudio2"
        ) from error
    return sounddevice


def settle(kind: Kind, wanted: int | str | None, rate: int | None) -> tuple[Device, int, int]:
    """The device that was asked for, and the channels and the rate nearest to mono at `rate` that it takes.

    Raises SpeechError where there is none, or several fit the name, or it takes nothing.
    """
    sd, device = portaudio(), _find(kind, wanted)
    if rate is not None and rate < 1:
        raise SpeechError(f"expected a sample rate of at least 1 Hz, got {rate}")
    check = sd.check_input_settings if kind == "input" else sd.check_output_settings
    most = device.inputs if kind == "input" else device.outputs
    reason: Exception | None = None
    for at in dict.fromkeys((rate or device.sample_rate, device.sample_rate)):
        for channels in dict.fromkeys((1, min(2, most), most)):
            try:
                check(device=device.index, channels=channels, dtype="float32", samplerate=at)
            except sd.PortAudioError as error:
                reason = error
            else:
                return device, channels, at
    raise _refused(kind, device, reason)


def _find(kind: Kind, wanted: int | str | None) -> Device:
    every = devices()
    able = [d for d in every if (d.inputs if kind == "input" else d.outputs)]
    if not able:
        raise SpeechError(
            f"expected a sound card with an {kind}, found none: plug one in, or work with files instead (on a desktop "
            "whose sound runs over PulseAudio or PipeWire: apt-get install libasound2-plugins)"
        )
    if wanted is None:
        default = [d for d in able if (d.default_input if kind == "input" else d.default_output)]
        return (default or able)[0]
    text = str(wanted)
    found = [d for d in able if str(d.index) == text] or [d for d in able if d.name == text]
    found = found or [d for d in able if text.lower() in d.name.lower()]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{d.index} '{d.name}'" for d in found or able)
    raise SpeechError(
        f"expected one {kind} device, got '{wanted}', which fits {'several' if found else 'none'} of: {names}"
    )


def open_stream(
    kind: Kind,
    device: Device,
    channels: int,
    rate: int,
    block: int = 0,
    callback: Any = None,
    latency: float | None = None,
) -> Any:
    """PortAudio's stream, not started. block: samples a callback brings (0: as it comes). latency: seconds to ask for.

    Raises SpeechError where the device does not open.
    """
    sd = portaudio()
    make = sd.InputStream if kind == "input" else sd.OutputStream
    options = {"device": device.index, "channels": channels, "samplerate": rate, "dtype": "float32"}
    try:
        return make(**options, blocksize=block, callback=callback, latency=latency)
    except sd.PortAudioError as error:
        raise _refused(kind, device, error) from error


def _refused(kind: Kind, device: Device, reason: Exception | None) -> SpeechError:
    return SpeechError(
        f"expected the {kind} device '{device.name}' to open, but it does not ({reason}): "
        "see whether another program holds it, or choose another one of `speech devices`"
    )
