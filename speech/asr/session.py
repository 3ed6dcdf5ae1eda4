"""A live stream: samples in, events out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from speech.asr.endpoint import EndpointConfig, Endpointer
from speech.asr.events import Event, Partial
from speech.asr.greedy import Greedy, Token
from speech.asr.live import LiveStream, Teller
from speech.asr.tokenizer import Tokenizer
from speech.asr.words import Words
from speech.audio.vad import VoiceActivity, VoiceMark
from speech.streaming.driver import Driver
from speech.streaming.lane import Asking, Call, Lane, Seat
from speech.streaming.module import Streaming
from speech.streaming.timing import Timing, phase_for


@dataclass(frozen=True)
class Setup:
    """What a stream runs: one pipeline (samples [b, n] at `rate` Hz to encoder frames [b, t, d]), decoder and text.

    chunk: samples a step, a multiple of `pipeline.grain`.
    """

    pipeline: Streaming
    decoder: Greedy
    tokenizer: Tokenizer
    rate: int
    chunk: int
    endpoint: EndpointConfig

    @cached_property
    def phase(self) -> int:
        """The sample index at which streams begin."""
        return phase_for(self.pipeline)

    @property
    def frame(self) -> float:
        """Seconds of an encoder frame."""
        return self.pipeline.down / self.pipeline.up / self.rate

    def lanes(self, slots: int = 1) -> Lanes:
        """Room for so many streams."""
        encoder = Lane(self.pipeline, slots)
        return Lanes(encoder, Lane(self.decoder, slots, device=encoder.device, dtype=encoder.dtype))


class Lanes(NamedTuple):
    """Where streams of one setup step."""

    encoder: Lane
    decoder: Lane


class Stream(LiveStream):
    """One live stream through encoder and greedy decoder.

    Events come in the order in which things happen. Greedy decoding never takes a token back, so of a `Partial` all but
    the last word, which may still grow, is stable. With `voice`, which is then this stream's alone, `SpeechStart` and
    `SpeechEnd` tell of voice, and its absence ends utterances too; without, they tell of decoded words. lanes: where it
    steps (default: of its own).
    """

    def __init__(
        self, setup: Setup, sample_rate: int, voice: VoiceActivity | None = None, lanes: Lanes | None = None
    ) -> None:
        super().__init__(sample_rate, setup.rate, voice)
        self.setup, lanes = setup, lanes or setup.lanes()
        self._driver = Driver(
            setup.pipeline, setup.chunk, phase=setup.phase, input_dtype=torch.float32, lane=lanes.encoder
        )
        self._decoder = lanes.decoder.open()
        self.reset()

    @property
    def seats(self) -> list[Seat]:
        return [self._driver.seat, self._decoder]

    @property
    def latency(self) -> float:
        return Timing.of(self.setup.pipeline, self.setup.rate, self.setup.chunk, self.setup.phase).latency_ms / 1e3

    def _begin(self) -> None:
        self._driver.reset()
        self._decoder.reset()
        self._reporter = Reporter(self.setup, self._voice is not None)

    def hearing(self, x: np.ndarray) -> Asking[list[Event]]:
        events: list[Event] = []
        while len(x):
            room = self._driver.room
            if self._voice:
                events += [self._reporter.mark(mark) for mark in self._voice.push(x[:room])]
            done = self._driver.emitted
            tokens = yield from self._decoded(done, (yield from self._driver.pushing(torch.tensor(x[:room]))))
            if self._driver.emitted > done:
                events += self._reporter.advance(tokens, self._driver.emitted)
            x = x[room:]
        return events

    def _finish(self) -> Asking[list[Event]]:
        events = [self._reporter.mark(mark) for mark in (self._voice.flush() if self._voice else ())]
        done = self._driver.emitted
        tokens = yield from self._decoded(done, (yield from self._driver.flushing()))
        return [
            *events,
            *self._reporter.advance(tokens, self._driver.emitted),
            *self._reporter.finish(self.duration),
        ]

    def _decoded(self, first: int, y: Tensor) -> Asking[list[Token]]:
        """The tokens of encoder frames [t, d] that begin at `first`."""
        return (yield Call(self._decoder, y, first)) if len(y) else []

    def _saved(self) -> tuple[dict[str, Any], list[bytes]]:
        return {"reporter": self._reporter.snapshot()}, [self._driver.snapshot(), self._decoder.save()]

    def _load(self, told: dict[str, Any], parts: list[bytes]) -> None:
        driver, decoder = parts
        self._decoder.load(decoder)
        self._driver.restore(driver)
        self._reporter.restore(told["reporter"])


class Reporter(Teller):
    """Turns the tokens of a stream, and the marks of its voice where it is watched, into events."""

    def __init__(self, setup: Setup, voiced: bool) -> None:
        super().__init__(voiced)
        self._frame = setup.frame
        self._silences = [(0.0, math.inf)] if voiced else []  # stretches without voice that may still end an utterance
        self._endpointer = Endpointer(setup.endpoint, setup.tokenizer, setup.frame)
        self._words = Words(setup.tokenizer, setup.frame)

    def advance(self, tokens: list[Token], decoded: int) -> list[Event]:
        """Take the tokens of the next frames; decoded: number of the stream's frames decoded so far."""
        events: list[Event] = []
        for utterance in self._endpointer.advance(tokens, decoded, self._silences):
            events += self._ended(utterance, math.inf)
        self._silences = [silence for silence in self._silences if silence[1] > decoded * self._frame]
        words = self._words.words(self._endpointer.running)
        if words:
            text = " ".join(word.text for word in words)
            stable = len(" ".join(word.text for word in words[:-1]))
            events += self.running(Partial(text, stable, words[0].start, words[-1].end))
        return events

    def mark(self, mark: VoiceMark) -> Event:
        if not mark.speaking:
            self._silences.append((mark.time, math.inf))
        elif self._silences:
            self._silences[-1] = (self._silences[-1][0], mark.time)
        return super().mark(mark)

    def finish(self, duration: float) -> list[Event]:
        """End the stream of `duration` seconds: the running utterance is final."""
        return self._ended(self._endpointer.finish(), duration)

    def _ended(self, tokens: list[Token], limit: float) -> list[Event]:
        segment = self._words.segment(tokens, limit)
        return self.final(segment) if segment else []

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"running": self._endpointer.running, "silences": self._silences}

    def restore(self, data: dict[str, Any]) -> None:
        super().restore(data)
        self._endpointer.running = [Token(*token) for token in data["running"]]
        self._silences = [(start, end) for start, end in data["silences"]]
