"""What a recogniser reports: frozen values with times in seconds from the stream's start, and `to_dict()`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any


class Plain:
    """A dataclass that can be told as plain data."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Word(Plain):
    """A word, the time it takes, and the geometric mean of its tokens' probabilities."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Segment(Plain):
    """A stretch of speech between two endpoints. confidence: the geometric mean of all its tokens' probabilities."""

    text: str
    words: tuple[Word, ...]
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Event:
    """Something that happened in a stream: `Partial`, `Final`, `SpeechStart` or `SpeechEnd`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `type` is the class's name in snake case: partial, final, speech_start, speech_end."""
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__)
        return {"type": name[1:], **asdict(self)}


@dataclass(frozen=True)
class Partial(Event):
    """The running utterance so far. Its first `stable` characters, all words but the last, never change afterwards.

    start, end: from its first word's start to its last word's end.
    """

    text: str
    stable: int
    start: float
    end: float


@dataclass(frozen=True)
class Final(Event, Segment):
    """A finished utterance: the last that is said about it."""


@dataclass(frozen=True)
class SpeechStart(Event):
    """Speech began at `time`."""

    time: float


@dataclass(frozen=True)
class SpeechEnd(Event):
    """Speech ended at `time`."""

    time: float


@dataclass(frozen=True)
class Transcript:
    """A whole recording: its segments, its duration in seconds, and the language's code, where the model tells it."""

    segments: tuple[Segment, ...]
    duration: float
    language: str | None = None

    @cached_property
    def text(self) -> str:
        """All words, a space between them."""
        return " ".join(segment.text for segment in self.segments)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """All words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: text, duration, segments with their words, and the language where the model tells."""
        told = {"text": self.text, "duration": self.duration, "segments": [s.to_dict() for s in self.segments]}
        return told if self.language is None else told | {"language": self.language}
