"""From speech codes to samples: flow, speed and vocoder as one stream."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from speech.flow.layers import Context
from speech.flow.model import Flow
from speech.flow.solver import Sampling
from speech.flow.stream import FlowKept, FlowLanes, FlowSetup, FlowStream
from speech.streaming.driver import Driver
from speech.streaming.lane import Asking, Lane, Seat
from speech.tts.stages import Stages
from speech.tts.stretch import Stretch
from speech.tts.voice import Voice
from speech.vocoder.model import Vocoder

PROMPTS = 4  # voices whose prompts are kept run through the flow: 0.9 GB each where it is as large as CosyVoice 2's


class SoundLanes(NamedTuple):
    """Where the sound of streams is made."""

    flow: FlowLanes
    vocoder: Lane


class Acoustics:
    """Flow and vocoder of a synthesiser. Streams of one voice begin with the state that its prompt leaves behind.

    context, sampling: of the flow, its configuration's own by default.
    """

    def __init__(
        self, flow: Flow, vocoder: Vocoder, context: Context | None = None, sampling: Sampling | None = None
    ) -> None:
        self.flow, self.vocoder = flow, vocoder
        self.context, self.sampling = context or flow.config.context, sampling or flow.config.sampling
        self._prompts: dict[int, tuple[Voice, FlowKept]] = {}  # by the voice's identity, the one spoken last at the end

    @cached_property
    def setup(self) -> FlowSetup:
        """What the flow's streams run."""
        return FlowSetup.of(self.flow, self.context, self.sampling)

    def lanes(self, slots: int = 1) -> SoundLanes:
        """Room for so many streams."""
        return SoundLanes(self.setup.lanes(slots), Lane(self.vocoder, slots, answers="cpu"))

    def prompting(self, stream: FlowStream, voice: Voice) -> Asking[None]:
        """Let a stream begin with a voice's prompt. It runs through the flow for the first stream only; what it leaves
        behind is kept for the voices spoken last."""
        kept = self._prompts.pop(id(voice), None)
        if kept is None:
            yield from stream.prompting(voice.codes, voice.mel)
            kept = voice, stream.keep()
            while len(self._prompts) >= PROMPTS:
                self._prompts.pop(next(iter(self._prompts)))
        else:
            stream.resume(kept[1])
        self._prompts[id(voice)] = kept

    def forget(self, voice: Voice) -> None:
        """Drop what is kept of a voice."""
        self._prompts.pop(id(voice), None)

    @property
    def codes_before_sound(self) -> int:
        """Codes that must have come before the first mel frames of a voice without a prompt."""
        return self.setup.opening

    def chunks(self, prompt: int = 0, speed: float = 1.0) -> tuple[int, int]:
        """Mel frames that the vocoder takes first, behind a prompt of so many codes, and then every time.

        They are those that a chunk of the flow brings, since few large steps cost much less than many small ones, or
        for faster speech a half of them, a quarter, ..., so that no sound waits for the chunk after.
        """
        rate, chunk = self.flow.config.rate, self.setup.chunk
        halvings = max(math.ceil(math.log2(speed)), 0)
        first, every = (max(rate * codes >> halvings, 1) for codes in (chunk - prompt % chunk, chunk))
        return first, every

    @property
    def code_seconds(self) -> float:
        """How long a code sounds at speed 1."""
        return self.flow.config.rate * self.vocoder.hop / self.vocoder.sample_rate

    @property
    def hold_back(self) -> float:
        """Seconds of mel that the vocoder must have beyond a sample."""
        return -self.vocoder.first(0) / self.vocoder.sample_rate


class Renderer:
    """Codes of a voice to samples, one stream after another: `beginning`, `pushing`, `flushing`, step by step.

    Every code has a speed; what comes out does not depend on how the codes were cut.

    lanes: where it steps (default: of its own). stages: where its time is counted. speed: the usual one, which the
    vocoder's steps are made for.
    """

    def __init__(
        self,
        acoustics: Acoustics,
        voice: Voice,
        lanes: SoundLanes | None = None,
        stages: Stages | None = None,
        speed: float = 1.0,
    ) -> None:
        self.acoustics, self.voice, self.stages = acoustics, voice, stages or Stages()
        lanes, vocoder = lanes or acoustics.lanes(), acoustics.vocoder
        with ExitStack() as undo:
            self._flow = FlowStream(acoustics.setup, voice.speaker, lanes.flow)
            undo.enter_context(closing(self._flow))
            shape, (first, every) = (vocoder.config.features,), acoustics.chunks(len(voice.codes), speed)
            self._vocoder = Driver(vocoder, every, opening=first, shape=shape, outputs=(), lane=lanes.vocoder)
            undo.pop_all()
        self._rate, self._hop = acoustics.flow.config.rate, vocoder.hop
        self._used = False
        self._start(0)

    def _start(self, before: int) -> None:
        self._stretch, self._before = Stretch(), before
        self._speeds: deque[float] = deque()  # of the mel frames that are yet to come
        self._times = array("d")  # of every mel frame that has come, in frames
        self.received = 0  # codes

    @property
    def seats(self) -> Sequence[Seat]:
        """Where all that the networks know of the stream lies."""
        return [*self._flow.seats, self._vocoder.seat]

    def close(self) -> None:
        """Give the seats back."""
        for seat in self.seats:
            seat.close()

    def beginning(self, before: int = 0) -> Asking[None]:
        """Begin a stream, `before` samples after where time began; of what was not flushed nothing more comes."""
        with self.stages.timed("flow"):
            if self._used:  # a seat is all zeros at first, and large
                self._flow.reset()
                self._vocoder.reset()
            self._used = True
            if len(self.voice.codes):
                yield from self.acoustics.prompting(self._flow, self.voice)
        self._start(before)

    def pushing(self, codes: list[int], speed: float = 1.0, symbol: int | None = None) -> Asking[Tensor]:
        """Take codes, and where it is known the text symbol they belong to; returns the samples [n] they complete."""
        self.received += len(codes)
        self._speeds.extend([speed] * (self._rate * len(codes)))
        tokens = [self.acoustics.flow.token(code, symbol) for code in codes]
        with self.stages.timed("flow"):
            mel = self._stretched((yield from self._flow.pushing(torch.tensor(tokens, dtype=torch.long))))
        with self.stages.timed("vocoder"):
            return (yield from self._vocoder.pushing(mel))

    def flushing(self) -> Asking[Tensor]:
        """End the stream; returns the rest of the samples, [n]."""
        with self.stages.timed("flow"):
            mel = self._stretched((yield from self._flow.flushing()))
        with self.stages.timed("vocoder"):
            last = yield from self._vocoder.pushing(mel)
            return torch.cat([last, (yield from self._vocoder.flushing())])

    def begins(self, code: int) -> float:
        """When a code begins, in samples since time began; infinite while that is not known."""
        frame = self._rate * code
        if frame < len(self._times):
            return self._before + round(self._times[frame] * self._hop)
        ended = not self._speeds and code == self.received
        return self._before + self._vocoder.emitted if ended else math.inf

    def _stretched(self, mel: Tensor) -> Tensor:
        mel, times = self._stretch.push(mel, [self._speeds.popleft() for _ in range(len(mel))])
        self._times.extend(times)
        return mel
