"""Plain Whisper over whole recordings: windows of 30 s, each from where the last one's time symbols ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from speech.asr.events import Event
from speech.asr.snapshot import to_bytes, to_tensor
from speech.asr.whisper.fallback import Fallback
from speech.asr.whisper.gate import PRE_ROLL, GatedStream
from speech.asr.whisper.search import Hypothesis
from speech.asr.whisper.text import Timed, aligned
from speech.asr.whisper.tokenizer import Symbols
from speech.asr.whisper.window import Look, Windows
from speech.streaming.lane import Asking, Seat

SHORTEST = 0.1
"""Seconds of voice at the end of what was transcribed that are not worth a window of their own."""


@dataclass(frozen=True)
class Part:
    """A stretch of a window between two time symbols, in frames of 20 ms; tokens: indices of its text."""

    start: int
    end: int
    tokens: tuple[int, ...]


def parts_of(ids: Sequence[int], symbols: Symbols, count: int) -> tuple[list[Part], int]:
    """The parts of a window of `count` frames by its time symbols, and up to which frame it is settled.

    As published (Radford et al. 2022, section 3.8): two time symbols side by side end a part and begin the next, and
    what follows the last such pair belongs to the next window, unless a single time symbol ends the text.
    """
    times = {i: token - symbols.times for i, token in enumerate(ids) if token >= symbols.times}
    cuts = [i for i in times if i - 1 in times]
    whole = bool(ids) and len(ids) - 1 in times and len(ids) - 2 not in times
    if not cuts:
        last = max(times.values(), default=0)
        return [Part(0, min(last or count, count), tuple(i for i in range(len(ids)) if i not in times))], count
    parts, begin = [], 0
    for cut in [*cuts, *[len(ids)] * whole]:
        inside = tuple(i for i in range(begin, cut) if i not in times)
        parts.append(Part(min(times.get(begin, 0), count), min(times.get(cut - 1, count), count), inside))
        begin = cut
    return parts, count if whole else min(times[cuts[-1] - 1], count)


class LongFormStream(GatedStream):
    """A recording pushed through plain Whisper window by window; tells of finished utterances only.

    Windows without voice are skipped, and a window begins no earlier than shortly before voice. Every window is
    prompted with the text before it, and at first with the request's prompt. The loudest value, on which Whisper's
    features hang, is that of the window. The first window tells the language where the request leaves it open.

    fallback: when a window is decoded again; it then stands in for the request's guard, which would hide what repeats
    itself. generator: where chance comes from (default: one of seed 0 for every recording).
    """

    def __init__(
        self,
        windows: Windows,
        sample_rate: int,
        fallback: Fallback | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        w, span = windows, windows.size / windows.rate
        super().__init__(sample_rate, w.rate, w.text, w.request, w.endpoint, None, span)
        fallback = fallback or Fallback()
        guard = None if fallback.temperatures else windows.request.guard
        self.windows = replace(windows, request=replace(windows.request, timestamps=True, guard=guard))
        self.fallback, self._chance = fallback, generator
        self._hop = windows.pipeline.down
        self._symbols = Symbols(windows.model.config.vocabulary)
        self._seat = self.windows.lane().open()
        self.reset()

    @property
    def seats(self) -> list[Seat]:
        return [self._seat]

    @property
    def latency(self) -> float:
        """Seconds of a window."""
        return self.windows.size / self.rate

    def _begin(self) -> None:
        super()._begin()
        self._samples = np.zeros(0, np.float32)
        self._at = 0  # the frame at which they begin
        self._prompt = [*self._asked.prompt]
        self._generator = self._chance or torch.Generator().manual_seed(0)

    def _saved(self) -> tuple[dict[str, Any], list[bytes]]:
        told, parts = super()._saved()
        parts += [self._seat.save(), self._samples.tobytes(), to_bytes(self._generator.get_state())]
        return told | {"at": self._at, "prompt": self._prompt}, parts

    def _load(self, told: dict[str, Any], parts: list[bytes]) -> None:
        *rest, seat, samples, chance = parts
        super()._load(told, rest)
        self._seat.load(seat)
        self._at, self._prompt = told["at"], told["prompt"]
        self._samples = np.frombuffer(samples, np.float32)
        self._generator.set_state(to_tensor(chance, self._generator.get_state()))

    def hearing(self, x: np.ndarray) -> Asking[list[Event]]:
        self._watch(x)
        self._samples = np.concatenate([self._samples, x])
        return (yield from self._run(last=False))

    def _finish(self) -> Asking[list[Event]]:
        self._watch(None)
        return (yield from self._run(last=True))

    def _run(self, last: bool) -> Asking[list[Event]]:
        """Transcribe the windows that are full, or all there is."""
        events: list[Event] = []
        while True:
            self._gate.forget(self._at * self._hop / self.rate + SHORTEST)
            begin = self._gate.begin
            if begin is None:
                self._skip(len(self._samples) // self._hop - math.ceil((PRE_ROLL + SHORTEST) * self.rate / self._hop))
                return events
            self._skip(math.floor((begin - PRE_ROLL) * self.rate / self._hop) - self._at)
            if not len(self._samples) or (len(self._samples) < self.windows.size and not last):
                return events
            events += yield from self._window(self._samples[: self.windows.size])

    def _skip(self, count: int) -> None:
        """Let go of so many frames of samples."""
        count = max(count, 0)
        self._samples = self._samples[count * self._hop :]
        self._at += count

    def _window(self, samples: np.ndarray) -> Asking[list[Event]]:
        """Transcribe one window [n] and go on to where it is settled."""
        look = yield from self.windows.look(self._seat, samples, self._request.language, self._prompt)
        language = look.said.language or self._request.language
        found, temperature = self._believed(look, language)
        heard, count = look.heard, -(-len(samples) // self._hop)
        if self.fallback.silent(found):
            self._skip(count)
            return []
        self._speak(language)
        parts, settled = parts_of(found.ids, self._symbols, count)
        indices = [i for part in parts for i in part.tokens]
        tokens = [Timed(found.ids[i], 0, 0, found.logprobs[i]) for i in indices]
        w = self.windows
        timed = aligned(w.model.decoder, self._request, tokens, heard, self._at, count)
        events = self._finals(parts, dict(zip(indices, timed, strict=True)))
        if temperature > self.fallback.prompting:
            self._prompt = []
        self._skip(settled or count)
        return events

    def _believed(self, look: Look, language: str) -> tuple[Hypothesis, float]:
        """What a window says, decoded again as long as that is doubtful, and the temperature that this took."""
        said, used = look.said, 0.0
        for temperature in self.fallback.temperatures:
            if not self.fallback.doubtful(said, self._text.written(said.ids)):
                break
            said = self.windows.again(look.heard, language, self._prompt, temperature, self._generator)
            used = temperature
        return said, used

    def _finals(self, parts: Sequence[Part], timed: dict[int, Timed]) -> list[Event]:
        """The utterances of a window's parts. timed: tokens by their index."""
        events: list[Event] = []
        for part in parts:
            tokens = [timed[i] for i in part.tokens]
            begin, end = ((self._at + frame) * self._hop / self.rate for frame in (part.start, part.end))
            events += self._teller.final(self._text.segment(tokens, begin, max(begin, end)))
            self._prompt += [token.id for token in tokens]
        self._prompt = self._prompt[-self.windows.model.config.tokens :]
        return events
