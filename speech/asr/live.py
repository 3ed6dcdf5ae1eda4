"""What all live recognition shares: samples in, events out, and the order in which events are told."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from speech.asr.events import Event, Final, Partial, Segment, SpeechEnd, SpeechStart
from speech.asr.snapshot import pack, unpack
from speech.audio.resample import Resampler
from speech.audio.samples import to_float
from speech.audio.vad import SAMPLE_RATE, VoiceActivity, VoiceMark
from speech.errors import SpeechError
from speech.streaming.closing import Closing
from speech.streaming.lane import Asking, Seat, alone


class LiveStream(Closing):
    """One live stream. A context manager; closed at its end. It is for one thread at a time.

    sample_rate: of the samples that come, rate: of those that the model hears, in Hz. voice: what watches for voice,
    this stream's alone. `remark`: what a user should know of this way to stream, a sentence or nothing.
    """

    remark = ""

    def __init__(self, sample_rate: int, rate: int, voice: VoiceActivity | None = None) -> None:
        if not isinstance(voice, VoiceActivity | None):
            raise SpeechError(f"expected a VoiceActivity to watch for voice, got {voice!r}: pass one, or None")
        if voice and rate != SAMPLE_RATE:
            raise SpeechError(f"expected a model at {SAMPLE_RATE} Hz beside voice activity, got one at {rate} Hz")
        self.sample_rate, self.rate, self._voice = sample_rate, rate, voice
        if voice:
            voice.reset()
        self._resampler = Resampler(sample_rate, rate)  # all that can fail comes before a seat is taken
        self._closed = False

    def reset(self) -> None:
        """Begin another stream: times start at 0 again."""
        self._check_open()
        self._resampler = Resampler(self.sample_rate, self.rate)
        if self._voice:
            self._voice.reset()
        self._received, self._ended = 0, False
        self._begin()

    @property
    @abstractmethod
    def latency(self) -> float:
        """Algorithmic latency in seconds: how long after its own time a sound is decoded, at the most.

        Resampling, where there is any, adds what `Resampler` holds back.
        """

    @property
    def language(self) -> str | None:
        """Code of the language that is spoken; None where the model does not tell, or not yet."""
        return None

    @property
    def duration(self) -> float:
        """Seconds of audio received."""
        return self._received / self.sample_rate

    def push(self, pcm: np.ndarray) -> list[Event]:
        """Take samples [n] at the stream's sample rate, float32 in [-1, 1] or int16; returns what happened.

        Raises SpeechError for any other array, for NaN or infinity, and for a stream that was flushed or closed.
        """
        return alone(self.hearing(self.taken(pcm)))

    def flush(self) -> list[Event]:
        """End the stream: decode all that was pushed, to its last sample, and finish the running utterance."""
        return alone(self.ending())

    def taken(self, pcm: np.ndarray) -> np.ndarray:
        """Check samples as `push` does, and count them; returns them at the model's rate, for `hearing`."""
        self._check_open()
        if self._ended:
            raise SpeechError("expected an open stream, but it was flushed: call reset() to begin another")
        x = to_float(pcm)
        self._received += len(x)
        return self._resampler.push(x)

    @abstractmethod
    def hearing(self, x: np.ndarray) -> Asking[list[Event]]:
        """Hear samples [n] at the model's rate, step by step. What happens must not hang on how they were cut."""

    def ending(self) -> Asking[list[Event]]:
        """As `flush`, step by step."""
        self._check_open()
        if self._ended:
            raise SpeechError("expected an open stream, but it was flushed already: call reset() to begin another")
        events = yield from self.hearing(self._resampler.flush())
        self._ended = True
        return events + (yield from self._finish())

    @property
    @abstractmethod
    def seats(self) -> list[Seat]:
        """Where all that the networks know of the stream lies."""

    def close(self) -> None:
        """Let the stream go; closing twice is fine."""
        if not self._closed:
            self._closed = True
            for seat in self.seats:
                seat.close()

    def snapshot(self) -> bytes:
        """The stream as it stands, as bytes, to go on with later or elsewhere by `restore`.

        Raises SpeechError where samples are resampled, or voice is watched by a detector that is not `Portable`: that
        state cannot be taken out.
        """
        self._check_portable()
        told, parts = self._saved()
        voice = self._voice and self._voice.snapshot()
        common = {"kind": self._kind, "received": self._received, "ended": self._ended, "voice": voice}
        return pack(common | {"stream": told}, parts)

    def restore(self, data: bytes) -> None:
        """Go on where `snapshot` was taken, in a stream of the same model that was opened in the same way.

        Raises SpeechError for a snapshot that does not fit, and for a stream that none can be taken of.
        """
        self._check_portable()
        told, parts = unpack(data)
        if told["kind"] != self._kind:
            raise SpeechError(f"expected a snapshot of {self._kind}, got one of {told['kind']}: open the same again")
        self.reset()
        self._load(told["stream"], parts)
        if self._voice:
            self._voice.restore(told["voice"])
        self._received, self._ended = told["received"], told["ended"]

    @property
    def _kind(self) -> str:
        """What a snapshot and the stream that goes on must have in common, beside the layout of their state."""
        return type(self).__name__ + (f" watched by {type(self._voice.detector).__name__}" if self._voice else "")

    def _check_portable(self) -> None:
        """Raise SpeechError where there is state that no snapshot holds."""
        self._check_open()
        if self.sample_rate != self.rate:
            raise SpeechError(
                f"expected a stream at the model's own {self.rate} Hz for a snapshot, got one at {self.sample_rate} "
                "Hz: resample before pushing"
            )

    @abstractmethod
    def _saved(self) -> tuple[dict[str, Any], list[bytes]]:
        """What `_load` goes on from: plain data, and what is none as bytes."""

    @abstractmethod
    def _load(self, told: dict[str, Any], parts: list[bytes]) -> None:
        """Go on from what `_saved` gave, in a stream at its start."""

    @abstractmethod
    def _begin(self) -> None:
        """Set everything of a stream to its start."""

    @abstractmethod
    def _finish(self) -> Asking[list[Event]]:
        """Hear the rest, and finish the running utterance."""

    def _check_open(self) -> None:
        if self._closed:
            raise SpeechError("expected an open stream, but it was closed: open another with Recogniser.stream()")


class Teller:
    """Tells of utterances and, where voice is watched, of voice: each utterance starts before its first partial.

    voiced: whether `SpeechStart` and `SpeechEnd` tell of voice, by `mark`, instead of what is written.
    """

    def __init__(self, voiced: bool) -> None:
        self.voiced = voiced
        self.partial: Partial | None = None
        """The last one of the running utterance."""

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `restore`."""
        return {"partial": self.partial and [*vars(self.partial).values()]}

    def restore(self, data: dict[str, Any]) -> None:
        """Go on where `snapshot` was taken."""
        self.partial = Partial(*data["partial"]) if data["partial"] else None

    def running(self, partial: Partial) -> list[Event]:
        """The running utterance as it stands; nothing where nothing changed."""
        if partial == self.partial:
            return []
        events = [*self._start(partial.start), partial]
        self.partial = partial
        return events

    def final(self, segment: Segment | None) -> list[Event]:
        """The end of the running utterance; without a segment there was nothing in it."""
        if segment is None:
            edge = [SpeechEnd(self.partial.end)] if self.partial and not self.voiced else []
            self.partial = None
            return [*edge]
        edges = [] if self.voiced else [*self._start(segment.start), SpeechEnd(segment.end)]
        self.partial = None
        return [*edges, Final(segment.text, segment.words, segment.start, segment.end, segment.confidence)]

    def mark(self, mark: VoiceMark) -> Event:
        """A mark of the voice."""
        return SpeechStart(mark.time) if mark.speaking else SpeechEnd(mark.time)

    def _start(self, time: float) -> list[Event]:
        return [] if self.partial or self.voiced else [SpeechStart(time)]
