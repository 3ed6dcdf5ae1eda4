"""Plain Whisper live: the last seconds are heard again and again, and words on which two looks agree stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Event, Partial
from speech.asr.whisper.gate import OVERLAP, PRE_ROLL, GatedStream
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.search import Hypothesis, Request, Search
from speech.asr.whisper.text import Text, Timed, aligned
from speech.asr.whisper.tokenizer import Symbols
from speech.audio.vad import VoiceActivity
from speech.streaming.arena import home_of
from speech.streaming.frames import Frames
from speech.streaming.lane import Asking, Call, Lane, Seat
from speech.streaming.module import Device, State, Streaming

SENTENCE_ENDS = (".", "?", "!", "\u3002", "\uff1f", "\uff01", "\u2026")

MARGIN = 0.2
"""Seconds by which the end of a word may be mistaken."""


class Look(NamedTuple):
    """A window. heard: its encoder frames [1, positions, d]; said: what is said in it."""

    heard: Frames
    said: Hypothesis


@dataclass(frozen=True)
class Windows:
    """Plain Whisper, which hears windows of 30 s whole. pipeline: samples to encoder frames in that context.

    A step of a lane of these encodes and decodes windows, each to its end; of a stream it keeps how its text begins.
    """

    model: Whisper
    pipeline: Streaming
    request: Request
    text: Text
    endpoint: EndpointConfig

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""
        return self.model.config.mel.sample_rate

    @property
    def size(self) -> int:
        """Samples of a window."""
        return self.model.config.positions * self.pipeline.down

    @cached_property
    def search(self) -> Search:
        """What decodes a window."""
        return Search(self.model.decoder, Symbols(self.model.config.vocabulary), self.request)

    def lane(self, slots: int = 1) -> Lane:
        """Room for so many streams."""
        device, dtype = home_of(self.pipeline)
        return Lane(self, slots, device=device, dtype=dtype, padded=False)

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """The texts of `slots` streams: zeros, slot axis first."""
        return self.search.init_texts(slots, device)

    def step(self, frames: Frames, state: State, slots: Tensor) -> list[Look]:
        """One window of the streams in `slots`. frames: samples [b, `size`]."""
        heard = self.pipeline(Frames.whole(frames.data))
        said = self.search.decode(heard, {name: x[slots] for name, x in state.items()})
        return [Look(Frames.whole(row[None]), told) for row, told in zip(heard.data, said, strict=True)]

    def look(
        self, seat: Seat, samples: np.ndarray, language: str, prompt: Sequence[int], prefix: Sequence[int] = ()
    ) -> Asking[Look]:
        """Hear samples [n], n up to `size`, and silence after them.

        seat: in a lane of windows that differ in language, task and prompt at the most. language: a code or `AUTO`, in
        place of the request's own. prompt: what was said before; prefix: the first tokens, as they must be.
        """
        self.search.begin(seat.lane.arena.state, seat.slot, prompt, prefix, language)
        padded = torch.zeros(self.size)
        padded[: len(samples)] = torch.from_numpy(samples)
        return (yield Call(seat, padded, 0))

    def again(
        self, heard: Frames, language: str, prompt: Sequence[int], temperature: float, generator: torch.Generator
    ) -> Hypothesis:
        """Decode a window that was heard, [1, positions, d], once more: its ids are drawn, see `Search.decode`."""
        request = replace(self.request, language=language, prompt=tuple(prompt), beam=0)
        return Search(self.model.decoder, self.search.symbols, request).decode(heard, None, temperature, generator)[0]


class AgreementStream(GatedStream):
    """One live stream through a Whisper that was not trained to stream.

    All sound since the last words that are settled is encoded again every `step` seconds. Words on which two looks
    agree are settled (LocalAgreement-2; Macháček et al. 2023, arXiv 2307.14743): they are given to the next look as the
    beginning of its text, so they cannot change, and of a `Partial` they are the stable part. When the sound grows
    long, it is cut behind a settled sentence, or word, whose end the cross-attention shows, but for the last seconds.

    lane: where it looks (default: of its own), of windows that differ in language, task and prompt at the most. Raises
    `Full` where it has no seat.
    """

    def __init__(
        self,
        windows: Windows,
        sample_rate: int,
        step: float = 1.0,
        voice: VoiceActivity | None = None,
        lane: Lane | None = None,
    ) -> None:
        w, span = windows, windows.size / windows.rate
        super().__init__(sample_rate, w.rate, w.text, w.request, w.endpoint, voice, span)
        self.windows, self.step = windows, step
        self._hop, self._step = windows.pipeline.down, round(step * windows.rate)
        self._overlap = round(min(OVERLAP, windows.size / windows.rate / 6) * windows.rate)
        self._longest = min(round(windows.endpoint.longest * windows.rate), 2 * windows.size // 3)
        self.remark = (
            "this Whisper was not trained for streaming: the last seconds are heard again at every look, and a word "
            f"is settled up to {self.latency:g} s after it was said, besides the time to compute"
        )
        self._seat = (lane or windows.lane()).open()
        self.reset()

    @property
    def seats(self) -> list[Seat]:
        return [self._seat]

    @property
    def latency(self) -> float:
        """Seconds after which a word is settled: that of two looks."""
        return 2 * self.step

    def _begin(self) -> None:
        super()._begin()
        self._parts: list[np.ndarray] = []  # samples since `_start`
        self._start = self._heard = 0  # samples
        self._running = False
        self._said = [*self._asked.prompt]  # and behind it the last ids of all that was told as final
        self._given: list[Timed] = []  # those of them that lie in the sound since `_start`
        self._settled: list[Timed] = []  # what follows them; no frames are known yet
        self._guess: list[list[Timed]] = []  # the words after that in the last look
        self._time = 0.0  # seconds before which no word begins any more

    def _saved(self) -> tuple[dict[str, Any], list[bytes]]:
        told, parts = super()._saved()
        samples = {"start": self._start, "heard": self._heard, "running": self._running, "time": self._time}
        text = {"said": self._said, "given": self._given, "settled": self._settled, "guess": self._guess}
        return told | samples | text, [*parts, self._seat.save(), self._samples().tobytes()]

    def _load(self, told: dict[str, Any], parts: list[bytes]) -> None:
        *rest, seat, samples = parts
        super()._load(told, rest)
        self._seat.load(seat)
        self._parts = [np.frombuffer(samples, np.float32)]
        self._start, self._heard, self._running = told["start"], told["heard"], told["running"]
        self._time, self._said = told["time"], told["said"]
        self._given, self._settled = ([Timed(*token) for token in told[name]] for name in ("given", "settled"))
        self._guess = [[Timed(*token) for token in word] for word in told["guess"]]

    def hearing(self, x: np.ndarray) -> Asking[list[Event]]:
        events: list[Event] = []
        while len(x):
            room = self._step - self._heard % self._step
            part, x = x[:room], x[room:]
            events += self._watch(part)
            self._parts.append(part)
            self._heard += len(part)
            if self._heard % self._step == 0:
                events += yield from self._look()
        return events

    def _finish(self) -> Asking[list[Event]]:
        return self._watch(None) + (yield from self._look(last=True))

    def _look(self, last: bool = False) -> Asking[list[Event]]:
        """Hear all since the last cut once more. last: nothing follows."""
        if self._gate.begin is None:
            self._drop(self._heard - round((PRE_ROLL + 0.1) * self.rate))
            return []
        if not self._running:
            self._drop(math.floor((self._gate.begin - PRE_ROLL) * self.rate))
            self._running = True
        now = self._heard / self.rate
        over = last or self._gate.paused(now, self._pause)
        if self._waits(now) and not over:
            return []
        prompt = self._said[: len(self._said) - len(self._given)]
        prefix = [token.id for token in self._given + self._settled]
        heard, said = yield from self.windows.look(self._seat, self._samples(), self._request.language, prompt, prefix)
        self._learn(said.language, now)
        events = self._told(self._agreed(said), now)
        if over:
            return events + self._end(heard, now)
        return events + self._cut(heard)

    def _agreed(self, said: Hypothesis) -> list[list[Timed]]:
        """Settle the words on which this look and the last agree; returns the words after them."""
        tokens = [Timed(i, 0, 0, logprob) for i, logprob in zip(said.ids, said.logprobs, strict=True)]
        words = self._text.groups(tokens)
        pairs = zip(map(self._spelt, words), map(self._spelt, self._guess), strict=False)
        agreed = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._settled += [token for word in words[:agreed] for token in word]
        self._guess = words[agreed:]
        return self._guess

    def _spelt(self, word: list[Timed]) -> str:
        return self._text.written([token.id for token in word])

    def _told(self, words: list[list[Timed]], now: float) -> list[Event]:
        """The partial of settled tokens and the words after them."""
        settled = [token.id for token in self._settled]
        text = self._text.written([*settled, *(token.id for word in words for token in word)])
        begin = max(self._start / self.rate, self._time)
        if not text and not self._teller.partial:
            return []
        return self._teller.running(Partial(text, len(self._text.written(settled)), begin, max(begin, now)))

    def _end(self, heard: Frames, now: float) -> list[Event]:
        """The utterance ends with a pause or the stream: all its words are final."""
        events = self._final(self._timed(self._settled + [t for word in self._guess for t in word], heard), now)
        self._drop(self._heard)
        self._rest()
        self._running, self._given, self._settled, self._guess = False, [], [], []
        return events

    def _cut(self, heard: Frames) -> list[Event]:
        """Where sound or text grows long, end an utterance behind its last settled sentence, or else word.

        The last seconds before that are heard again, the words in them given.
        """
        length, room = self._heard - self._start, self.windows.size - self._step
        words = self._text.groups(self._settled)
        wordy = len(self._given + self._settled) > self.windows.model.config.tokens // 4
        if length > room:
            words = words or self._guess
        elif not words or (length < self._longest and not wordy):
            return []
        ends = [i for i, word in enumerate(words, 1) if self._spelt(word).endswith(SENTENCE_ENDS)]
        kept = self._timed([token for word in words[: ends[-1] if ends else len(words)] for token in word], heard)
        events = self._final(kept, self._heard / self.rate)
        again = (kept[-1].end * self._hop if kept else self._heard) - self._overlap
        self._drop(max(again, self._heard - room))
        self._gate.keep_last()
        told = self._text.groups(self._given + kept)
        near = (self._start - round(MARGIN * self.rate)) / self._hop
        given = [token for word in told for token in word if word[-1].end > near]
        self._given = given[-(self.windows.model.config.tokens // 4) :]  # a word without end must not fill the decoder
        self._settled, self._guess = self._settled[len(kept) :], []
        return events

    def _timed(self, tokens: list[Timed], heard: Frames) -> list[Timed]:
        """The tokens, all behind the given ones, with their frames in the stream, by cross-attention."""
        w, count = self.windows, -(-(self._heard - self._start) // self._hop)
        given = [token.id for token in self._given]
        return aligned(w.model.decoder, self._request, tokens, heard, self._start // self._hop, count, given)

    def _final(self, tokens: list[Timed], limit: float) -> list[Event]:
        self._said = [*self._said, *(token.id for token in tokens)][-self.windows.model.config.tokens :]
        segment = self._text.segment(tokens, max(self._start / self.rate, self._time), limit)
        self._time = segment.end if segment else self._time
        return self._teller.final(segment)

    def _samples(self) -> np.ndarray:
        self._parts = [np.concatenate([*self._parts, np.zeros(0, np.float32)])]
        return self._parts[0]

    def _drop(self, before: int) -> None:
        """Forget the samples before one, down to a whole frame."""
        count = max((before - self._start) // self._hop * self._hop, 0)
        self._parts = [self._samples()[count:]]
        self._start += count
