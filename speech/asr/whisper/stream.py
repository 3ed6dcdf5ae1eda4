"""A live stream of a causal Whisper: every chunk is encoded once and decoded at once, for hours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speech.asr.endpoint import EndpointConfig, frames
from speech.asr.events import Event, Partial
from speech.asr.session import Lanes
from speech.asr.snapshot import to_bytes, to_tensor
from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.gate import OVERLAP, PRE_ROLL, GatedStream
from speech.asr.whisper.search import Hypothesis, Search
from speech.asr.whisper.text import Text, Timed, aligned, spread
from speech.audio.vad import VoiceActivity
from speech.streaming.arena import Full
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.streaming.lane import Asking, Call, Lane, Seat
from speech.streaming.module import Streaming
from speech.streaming.timing import Timing, phase_for


@dataclass(frozen=True)
class Setup:
    """What a stream runs: one pipeline (samples [b, n] to encoder frames [b, t, d]) in one context, search and text.

    aligned: word times of finished utterances by cross-attention instead of by when words came.
    """

    config: WhisperConfig
    context: Context
    pipeline: Streaming
    search: Search
    text: Text
    endpoint: EndpointConfig
    aligned: bool = False

    @property
    def rate(self) -> int:
        """Sample rate of the pipeline's input in Hz."""
        return self.config.mel.sample_rate

    @property
    def chunk(self) -> int:
        """Samples a step."""
        return self.context.chunk * self.pipeline.down

    @property
    def opening(self) -> int:
        """Samples of the first step, with which the initial block is complete."""
        first = self.pipeline.first(self.phase)
        return (max(self.context.initial, self.context.chunk) - first) * self.pipeline.down

    @cached_property
    def phase(self) -> int:
        """The sample index at which streams begin."""
        return phase_for(self.pipeline)

    @property
    def longest(self) -> int:
        """Frames after which an utterance is cut where a word is stable."""
        return min(frames(self.endpoint.longest, self.config.frame), 2 * self.config.positions // 3)

    @property
    def overlap(self) -> int:
        """Frames that are heard again where speech is cut."""
        return min(frames(OVERLAP, self.config.frame), self.longest // 4)

    def lanes(self, slots: int = 1) -> Lanes:
        """Room for so many streams. Batches of the search are not padded: how long one takes hangs on every row."""
        encoder = Lane(self.pipeline, slots)
        return Lanes(encoder, Lane(self.search, slots, device=encoder.device, dtype=encoder.dtype, padded=False))


class WhisperStream(GatedStream):
    """One live stream through a causal Whisper.

    The encoder runs on without an end. Decoding begins with voice and ends with an utterance: at a pause or, where
    there is none, behind a word that is stable, before what was heard outgrows the decoder's memory. There the next
    utterance hears the last seconds again, with the words that came in them given, so that none is lost or doubled. Of
    a `Partial`, words are stable that the search will not take back; the others may change.

    lanes: where it steps (default: of its own), of a setup that differs in language, task and prompt at the most.
    Raises `Full` where they have no seat.
    """

    def __init__(
        self, setup: Setup, sample_rate: int, voice: VoiceActivity | None = None, lanes: Lanes | None = None
    ) -> None:
        request, span = setup.search.request, setup.config.positions * setup.config.frame
        super().__init__(sample_rate, setup.rate, setup.text, request, setup.endpoint, voice, span)
        self.setup, lanes = setup, lanes or setup.lanes()
        self._driver = Driver(
            setup.pipeline,
            setup.chunk,
            phase=setup.phase,
            opening=setup.opening,
            input_dtype=torch.float32,
            outputs=(setup.config.dim,),
            lane=lanes.encoder,
        )
        try:
            self._decoder = lanes.decoder.open()
        except Full:
            self._driver.close()
            raise
        self.reset()

    @property
    def seats(self) -> list[Seat]:
        return [self._driver.seat, self._decoder]

    @property
    def latency(self) -> float:
        return Timing.of(self.setup.pipeline, self.rate, self.setup.chunk, self.setup.phase).latency_ms / 1e3

    def _begin(self) -> None:
        super()._begin()
        self._driver.reset()
        self._decoder.reset()
        self._held: Tensor | None = None  # frames that the decoder's memory does not have
        self._from = 0  # from this frame on memory and held frames have no gap
        self._since: int | None = None  # the first frame of the running utterance
        self._time = 0.0  # seconds before which no word begins any more
        self._hypothesis = Hypothesis()
        self._given: Sequence[int] = ()  # its first ids
        self._heard: list[Tensor] = []  # its frames, where words are aligned

    def _saved(self) -> tuple[dict[str, Any], list[bytes]]:
        told, parts = super()._saved()
        places = {"from": self._from, "since": self._since, "time": self._time}
        text = {"hypothesis": asdict(self._hypothesis), "given": list(self._given)}
        frames = [b"" if self._held is None else to_bytes(self._held), b"".join(map(to_bytes, self._heard))]
        return told | places | text, [*parts, self._driver.snapshot(), self._decoder.save(), *frames]

    def _load(self, told: dict[str, Any], parts: list[bytes]) -> None:
        *rest, driver, decoder, held, heard = parts
        super()._load(told, rest)
        self._decoder.load(decoder)
        self._driver.restore(driver)
        self._from, self._since, self._time = (told[name] for name in ("from", "since", "time"))
        self._hypothesis, self._given = Hypothesis.of(told["hypothesis"]), told["given"]
        lane = self._driver.seat.lane
        nothing = torch.empty(0, self.setup.config.dim, dtype=lane.dtype, device=lane.answers)
        self._held = to_tensor(held, nothing) if held else None
        self._heard = [to_tensor(heard, nothing)] if heard else []

    def hearing(self, x: np.ndarray) -> Asking[list[Event]]:
        events: list[Event] = []
        while len(x):
            part, x = x[: self._driver.room], x[self._driver.room :]
            events += self._watch(part)
            y = yield from self._driver.pushing(torch.tensor(part))
            if len(y):
                events += yield from self._hear(y)
        return events

    def _finish(self) -> Asking[list[Event]]:
        events = self._watch(None)
        events += yield from self._hear((yield from self._driver.flushing()), last=True)
        return events if self._since is None else events + self._end(self.duration)

    def _hear(self, y: Tensor, last: bool = False) -> Asking[list[Event]]:
        """Take the next encoder frames [t, d]. last: nothing follows."""
        self._held = y if self._held is None else torch.cat([self._held, y])
        if self._since is None and self._gate.begin is None:
            self._held = self._held[-frames(PRE_ROLL + 0.1, self.setup.config.frame) :]
            self._from = max(self._from, self._driver.emitted - len(self._held))
            return []
        if not len(self._held):
            return []
        if self._since is None:
            self._start(self._gate.begin or 0.0)
        now = self._driver.received / self.rate
        paused = self._gate.paused(now, self._pause)
        if self._waits(now) and not (paused or last):
            return []
        heard, self._held = self._held, None
        events = yield from self._decode(heard)
        if paused:
            return events + self._end(now)
        return events + (yield from self._cut(heard))

    def _start(self, begin: float) -> None:
        """Begin an utterance whose voice begins at `begin` seconds."""
        assert self._held is not None
        at = self._driver.emitted - len(self._held)
        since = max(math.floor((begin - PRE_ROLL) / self.setup.config.frame), self._from)
        self._held = self._held[max(since - at, 0) :]
        self._restart(since, (), max(begin - PRE_ROLL, self._time))

    def _restart(self, since: int, prefix: Sequence[int], time: float) -> None:
        seat, r = self._decoder, self._request
        self.setup.search.restart(seat.lane.arena.state, seat.slot, since, r.prompt, prefix, r.language)
        self._since = self._from = since
        self._time, self._hypothesis, self._given = time, Hypothesis(), prefix

    def _decode(self, heard: Tensor) -> Asking[list[Event]]:
        """Decode the running utterance with the frames [t, d] that were heard last."""
        if self.setup.aligned:
            self._heard.append(heard)
        self._hypothesis = yield Call(self._decoder, heard, self._driver.emitted - len(heard))
        now = self._driver.received / self.rate
        self._learn(self._hypothesis.language, now)
        partial = self._text.partial(self._tokens, self._hypothesis.stable, self._time, now)
        if partial is None and self._teller.partial:  # all was taken back
            partial = Partial("", 0, self._teller.partial.start, self._teller.partial.start)
        return self._teller.running(partial) if partial else []

    @property
    def _tokens(self) -> list[Timed]:
        return spread(self._hypothesis, self.setup.context.chunk)

    def _end(self, limit: float) -> list[Event]:
        """The running utterance ends with a pause or the stream, of which `limit` seconds have come."""
        segment = self._text.segment(self._final(self._tokens), self._time, limit)
        self._since, self._heard, self._time = None, [], segment.end if segment else self._time
        self._rest()
        return self._teller.final(segment)

    def _cut(self, heard: Tensor) -> Asking[list[Event]]:
        """End an utterance that grows too long at its last stable word, or wherever it is once there is no more room.

        The next utterance hears the last frames before that again. The words that may end in them are its given
        beginning: each ended at most a chunk before it came. heard: the frames that came last.
        """
        setup, now, since = self.setup, self._driver.emitted, self._since or 0
        words = self._text.whole(self._tokens, self._hypothesis.stable)
        if now - since > setup.config.positions - setup.context.chunk:
            words = words or self._text.groups(self._tokens)
        elif now - since < setup.longest or not words:
            return []
        kept = [token for word in words for token in word]
        again = (kept[-1].end if kept else now) - setup.overlap
        given = [token.id for word in words for token in word if word[-1].end > again - setup.context.chunk]
        segment = self._text.segment(self._final(kept), self._time)
        events = self._teller.final(segment)
        self._gate.keep_last()
        again = max(again, since)
        if self.setup.aligned:
            self._heard = [torch.cat(self._heard)[again - now : -len(heard)]]
        self._restart(again, given, segment.end if segment else self._time)
        return events + (yield from self._decode(heard))

    def _final(self, tokens: list[Timed]) -> list[Timed]:
        """The tokens with the best times there are."""
        if not self.setup.aligned or not tokens:
            return tokens
        decoder, heard = self.setup.search.decoder, torch.cat(self._heard)
        start = self._driver.emitted - len(heard)
        return aligned(decoder, self._request, tokens, Frames.whole(heard[None]), start, given=self._given)
