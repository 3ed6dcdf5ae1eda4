"""The options that choose a synthesiser and a voice, loading it, and what is measured while it speaks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from speech.tts.stages import Stages
    from speech.tts.synthesiser import Synthesiser

Model = Annotated[str, typer.Option("--model", "-m", help="`tts` (bundled), a checkpoint folder, or a hub name.")]
Speed = Annotated[float, typer.Option("--speed", metavar="X", help="0.25 to 4 times the voice's own.")]
NoMarkup = Annotated[bool, typer.Option("--no-markup", help="Read tags such as <break> as text.")]
Normaliser = Annotated[
    str | None,
    typer.Option(
        "--normaliser", metavar="rules|grammar", help="What reads numbers, dates, ...; the grammar: pip install wetext."
    ),
]
Threads = Annotated[int, typer.Option("--threads", min=1, metavar="N", help="CPU threads.")]


def load(model: str, device: str | None, threads: int, normaliser: str | None) -> Synthesiser:
    """A synthesiser as the options say. Raises SpeechError for what the model or the machine does not have."""
    import torch

    from speech.hub.load import load_synthesiser

    torch.set_num_threads(threads)
    return load_synthesiser(model, device, normaliser=normaliser)


@dataclass
class Timings:
    """What speaking took, in seconds: sound made, from the first text to the first sound, and computing by stage."""

    audio: float = 0.0
    first_sound: float | None = None
    codes: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    _begin: float = 0.0

    def arriving(self, texts: Iterable[str]) -> Iterator[str]:
        """The same pieces of text; the first of all starts the clock."""
        for text in texts:
            self._begin = self._begin or time.perf_counter()
            yield text

    def heard(self, seconds: float) -> None:
        """Count a sound that was made just now."""
        if self.first_sound is None:
            self.first_sound = time.perf_counter() - self._begin
        self.audio += seconds

    def add(self, stages: Stages) -> None:
        """Count the computing of a stream that has ended."""
        self.codes += stages.codes
        for stage in ("text", "lm", "flow", "vocoder"):
            self.stages[stage] = self.stages.get(stage, 0.0) + getattr(stages, stage)

    @property
    def busy(self) -> float:
        """Seconds of computing."""
        return sum(self.stages.values())

    @property
    def factor(self) -> float | None:
        """Real-time factor: seconds of computing for a second of sound; None without sound."""
        return self.busy / self.audio if self.audio else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data: seconds, and milliseconds to the first sound; None where nothing was measured."""
        return {
            "type": "timings",
            "audio": round(self.audio, 3),
            "first_sound_ms": None if self.first_sound is None else round(1e3 * self.first_sound, 1),
            "real_time_factor": None if self.factor is None else round(self.factor, 4),
            "codes": self.codes,
            "stages": {stage: round(seconds, 4) for stage, seconds in self.stages.items()},
        }

    def __str__(self) -> str:
        """One line for people."""
        line = f"{self.audio:.1f} s of speech"
        if self.first_sound is not None:
            line += f", first sound after {1e3 * self.first_sound:.0f} ms"
        if self.factor is not None:
            parts = ", ".join(f"{stage} {seconds / self.audio:.3f}" for stage, seconds in self.stages.items())
            line += f", real-time factor {self.factor:.3f} ({parts})"
        return line
