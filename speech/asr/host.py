"""Recognition in an engine: many live streams, stepped together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from speech.asr.live import LiveStream
from speech.asr.session import Lanes, Setup, Stream
from speech.audio.vad import VoiceActivity
from speech.errors import SpeechError
from speech.streaming.engine.host import HostedLive, Regular, Yielding
from speech.streaming.module import Streaming
from speech.streaming.timing import phase_for

BACKLOG = 30.0
"""Seconds of sound that may wait in a stream."""


class HostedStream(HostedLive[LiveStream]):
    """A live stream of samples to events."""

    def feeding(self, item: np.ndarray) -> Yielding:
        yield from (yield from self.stream.hearing(item))

    def ending(self) -> Yielding:
        yield from (yield from self.stream.ending())


class RecogniserHost:
    """Room for `slots` streams in each of some setups, by their look-ahead in milliseconds; the first is the default.

    dim: of an encoder frame.
    """

    def __init__(self, setups: Mapping[int, Setup], dim: int, slots: int) -> None:
        self.setups = {ms: (setup, setup.lanes(slots)) for ms, setup in setups.items()}
        self.backlog = max(round(BACKLOG * setup.rate) for setup in setups.values())
        self.seconds = min(setup.chunk / setup.rate for setup in setups.values())
        self.regular = [
            step
            for setup, lanes in self.setups.values()
            for step in regular(lanes, setup.pipeline, setup.chunk, setup.rate, dim)
        ]

    def open(
        self, *, sample_rate: int = 16000, look_ahead: int | None = None, voice: VoiceActivity | None = None
    ) -> HostedStream:
        """sample_rate: of the samples that will come, in Hz. look_ahead: milliseconds, one that there is room for.

        voice: watch for voice with this, which is this stream's alone.
        """
        look_ahead = next(iter(self.setups)) if look_ahead is None else look_ahead
        if look_ahead not in self.setups:
            known = ", ".join(map(str, self.setups))
            raise SpeechError(f"expected a look-ahead of {known} ms, got {look_ahead!r}: the engine hosts no other")
        setup, lanes = self.setups[look_ahead]
        return HostedStream(Stream(setup, sample_rate, voice, lanes))


def regular(lanes: Lanes, pipeline: Streaming, chunk: int, rate: int, dim: int) -> tuple[Regular, Regular]:
    """The two steps that a stream takes with every chunk, of so many samples at `rate` Hz."""
    frames, per_second = chunk * pipeline.up // pipeline.down, rate / chunk
    return (
        Regular(lanes.encoder, chunk, phase_for(pipeline), (), torch.float32, per_second, "encoder"),
        Regular(lanes.decoder, frames, 0, (dim,), lanes.encoder.dtype, per_second, "decoder"),
    )
