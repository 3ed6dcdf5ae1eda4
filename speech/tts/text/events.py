"""What marked-up text says, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """Words to read at `rate` times the usual speed."""

    text: str
    rate: float = 1.0


@dataclass(frozen=True)
class SayAs:
    """Text to read in a given way: one of `say_as.KINDS`, with an optional format such as "dmy"."""

    text: str
    kind: str
    format: str = ""
    rate: float = 1.0


@dataclass(frozen=True)
class Phonemes:
    """Text with its pronunciation, symbols of `inventory`."""

    text: str
    phonemes: tuple[str, ...]
    rate: float = 1.0


@dataclass(frozen=True)
class Substitute:
    """Text and the words to read instead of it."""

    text: str
    alias: str
    rate: float = 1.0


@dataclass(frozen=True)
class Pause:
    """Silence of so many seconds; 0 where only a sentence ends."""

    seconds: float


Event = Text | SayAs | Phonemes | Substitute | Pause
