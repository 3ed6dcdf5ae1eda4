"""Whispers in an engine: many live streams, stepped together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from speech.asr.host import BACKLOG, HostedStream
from speech.asr.live import LiveStream
from speech.asr.whisper.search import Request, Task
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from speech.streaming.engine.host import Regular


@dataclass(frozen=True)
class Room:
    """Lanes for streams of one chunk. opened: begins one there, by what is asked of it, the rate of its samples in Hz
    and what watches for voice; regular: the steps that each takes.
    """

    opened: Callable[[Request, int, VoiceActivity | None], LiveStream]
    regular: Sequence[Regular]


class WhisperHost:
    """Room for streams in each of some chunks, by their milliseconds; the first is the default.

    asked: what a language, a task and a prompt ask, or raises SpeechError. rate: of the samples that the model hears,
    in Hz.
    """

    def __init__(
        self, rooms: Mapping[int, Room], asked: Callable[[str | None, Task | None, str | None], Request], rate: int
    ) -> None:
        self.rooms, self._asked = rooms, asked
        self.seconds, self.backlog = min(rooms) / 1e3, round(BACKLOG * rate)
        self.regular = [step for room in rooms.values() for step in room.regular]

    def open(
        self,
        *,
        sample_rate: int = 16000,
        chunk: int | None = None,
        language: str | None = None,
        task: Task | None = None,
        prompt: str | None = None,
        voice: VoiceActivity | None = None,
    ) -> HostedStream:
        """sample_rate: of the samples that will come, in Hz. chunk: milliseconds, one that there is room for.

        language ("auto" among them), task, prompt: as for the recogniser, whose own they are by default. voice: watch
        for voice with this, which is this stream's alone.
        """
        chunk = next(iter(self.rooms)) if chunk is None else chunk
        if chunk not in self.rooms:
            known = ", ".join(map(str, self.rooms))
            raise SpeechError(f"expected a chunk of {known} ms, got {chunk!r}: the engine hosts no other")
        return HostedStream(self.rooms[chunk].opened(self._asked(language, task, prompt), sample_rate, voice))
