"""From speech codes to samples: flow, speed and vocoder as one stream."""

from __future__ import annotations

import math
from array import array
from collections import deque

import torch
from torch import Tensor

from speech.flow.layers import Context
from speech.flow.model import Flow
from speech.flow.solver import Sampling
from speech.flow.stream import FlowStream
from speech.streaming.driver import Driver
from speech.streaming.timing import phase_for
from speech.tts.stages import Stages
from speech.tts.stretch import Stretch
from speech.tts.voice import Voice
from speech.vocoder.model import Vocoder

CHUNK = 10  # mel frames that the vocoder takes at a time
PROMPTS = 4  # voices whose prompts are kept run through the flow: 0.9 GB each where it is as large as CosyVoice 2's


class Acoustics:
    """Flow and vocoder of a synthesiser. Streams of one voice begin with the state that its prompt leaves behind.

    context, sampling: of the flow, its configuration's own by default.
    """

    def __init__(
        self, flow: Flow, vocoder: Vocoder, context: Context | None = None, sampling: Sampling | None = None
    ) -> None:
        self.flow, self.vocoder = flow, vocoder
        self.context, self.sampling = context or flow.config.context, sampling or flow.config.sampling
        self._prompts: dict[int, tuple[Voice, bytes]] = {}  # by the voice's identity, the one spoken last at the end

    def stream(self, voice: Voice, before: int = 0, stages: Stages | None = None) -> Renderer:
        """Open a stream of a voice, `before` samples after where time began; the first one of a voice runs its prompt
        through the flow. stages: where its time is counted."""
        stream = FlowStream(self.flow, voice.speaker, context=self.context, sampling=self.sampling)
        if len(voice.codes):
            stream.restore(self._prompted(voice))
        return Renderer(stream, self.vocoder, before, stages)

    def _prompted(self, voice: Voice) -> bytes:
        """The flow's stream behind the voice's prompt; those of the voices spoken last are kept."""
        kept = self._prompts.pop(id(voice), None)
        if kept is None:
            prompt = FlowStream(
                self.flow, voice.speaker, voice.codes, voice.mel, context=self.context, sampling=self.sampling
            )
            kept = voice, prompt.snapshot()
            while len(self._prompts) >= PROMPTS:
                self._prompts.pop(next(iter(self._prompts)))
        self._prompts[id(voice)] = kept
        return kept[1]

    def forget(self, voice: Voice) -> None:
        """Drop what is kept of a voice."""
        self._prompts.pop(id(voice), None)

    @property
    def codes_before_sound(self) -> int:
        """Codes that must have come before the first mel frames of a voice without a prompt."""
        return (self.context.chunk or 0) + self.flow.ahead().look_ahead

    @property
    def hold_back(self) -> float:
        """Seconds of mel that the vocoder must have beyond a sample."""
        phase = phase_for(self.vocoder)
        return (
            (phase + CHUNK - self.vocoder.first(phase) / self.vocoder.hop) * self.vocoder.hop / self.vocoder.sample_rate
        )


class Renderer:
    """One stream of codes. Every code has a speed; what comes out does not depend on how the codes were cut."""

    def __init__(self, flow: FlowStream, vocoder: Vocoder, before: int = 0, stages: Stages | None = None) -> None:
        self._flow, self._stretch = flow, Stretch()
        self.stages = stages or Stages()
        self._vocoder = Driver(vocoder, CHUNK, shape=(vocoder.config.features,), outputs=())
        self._rate, self._hop, self._before = flow.flow.config.rate, vocoder.hop, before
        self._speeds: deque[float] = deque()  # of the mel frames that are yet to come
        self._times = array("d")  # of every mel frame that has come, in frames
        self.received = 0  # codes

    def push(self, codes: list[int], speed: float = 1.0, symbol: int | None = None) -> Tensor:
        """Take codes, and where it is known the text symbol they belong to; returns the samples [n] they complete."""
        self.received += len(codes)
        self._speeds.extend([speed] * (self._rate * len(codes)))
        with self.stages.timed("flow"):
            tokens = [self._flow.flow.token(code, symbol) for code in codes]
            mel = self._stretched(self._flow.push(torch.tensor(tokens, dtype=torch.long)))
        with self.stages.timed("vocoder"):
            return self._vocoder.push(mel)

    def flush(self) -> Tensor:
        """End the stream; returns the rest of the samples, [n]."""
        with self.stages.timed("flow"):
            mel = self._stretched(self._flow.flush())
        with self.stages.timed("vocoder"):
            return torch.cat([self._vocoder.push(mel), self._vocoder.flush()])

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
