"""What keeps silence from the decoder, which would make words up for it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from speech.asr.endpoint import EndpointConfig
from speech.asr.events import Event
from speech.asr.live import LiveStream, Teller
from speech.asr.whisper.search import Request
from speech.asr.whisper.text import Text
from speech.asr.whisper.tokenizer import AUTO
from speech.audio.vad import SAMPLE_RATE, WINDOW, VoiceActivity, VoiceMark
from speech.errors import SpeechError

PRE_ROLL = 0.3
"""Seconds before voice begins that are decoded with it."""

OVERLAP = 2.0
"""Seconds that are heard again, their words given, where speech without a pause is cut: no time is exact there."""

ENOUGH, PATIENCE = 1.0, 3.0
"""Seconds of voice, and since it began, after either of which the language of a live stream is told."""


class Level:
    """A `Detector` by level alone: sure of voice where a window is far louder than the quietest of the last seconds.

    So steady noise of any level is silence once it has lasted `memory` seconds, and so is all below `floor`, in dB of
    full scale. A window that is `margin` dB louder than the quietest has the probability 0.5.
    """

    def __init__(self, floor: float = -60.0, margin: float = 10.0, memory: float = 4.0) -> None:
        self.floor, self.margin = floor, margin
        self._levels: deque[float] = deque(maxlen=math.ceil(memory * SAMPLE_RATE / WINDOW))
        self.reset()

    def __call__(self, window: np.ndarray) -> float:
        level = 10 * math.log10(float(np.mean(np.square(window), dtype=np.float64)) + 1e-12)
        quietest = max(min(self._levels), self.floor)
        self._levels.append(level)
        return min(max((level - quietest) / (2 * self.margin), 0.0), 1.0)

    def reset(self) -> None:
        """Forget the stream; before it there was silence."""
        self._levels.extend([self.floor] * (self._levels.maxlen or 0))

    def snapshot(self) -> list[float]:
        """The last levels, dB."""
        return list(self._levels)

    def restore(self, data: list[float]) -> None:
        """Go on where `snapshot` was taken."""
        self._levels.extend(data)


@dataclass
class Gate:
    """Where in a stream there is voice that nobody has dealt with yet: (start, end) seconds, the last may be open."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def take(self, marks: Iterable[VoiceMark]) -> None:
        """Take the next marks of the voice."""
        for mark in marks:
            if mark.speaking:
                self.spans.append((mark.time, math.inf))
            else:
                self.spans[-1] = (self.spans[-1][0], mark.time)

    @property
    def begin(self) -> float | None:
        """Where the first voice begins; None while there is none."""
        return self.spans[0][0] if self.spans else None

    def seconds(self, now: float) -> float:
        """How much voice there was up to `now`."""
        return sum(min(end, now) - begin for begin, end in self.spans)

    def paused(self, now: float, silence: float) -> bool:
        """Whether there was voice, and none in the last `silence` seconds before `now`."""
        return bool(self.spans) and now - self.spans[-1][1] >= silence

    def keep_last(self) -> None:
        """Drop all voice but the last: enough to know of a pause, however long speech goes on."""
        del self.spans[:-1]

    def forget(self, before: float = math.inf) -> None:
        """Drop the voice that ended at `before` or sooner."""
        self.spans = [span for span in self.spans if span[1] > before]


class GatedStream(LiveStream):
    """A live stream whose decoder hears nothing of silence, of a model that hears `span` seconds at once.

    voice: watches for voice, and is then this stream's alone; `SpeechStart` and `SpeechEnd` tell of it, and utterances
    end after `endpoint.voice_silence` without it. Without, the level of the sound stands in for it, `SpeechStart` and
    `SpeechEnd` tell of decoded words, and utterances end after `endpoint.silence`.

    Where the request leaves the language open, it is found out by the first utterance, of which nothing is decoded
    before there is enough of it. An utterance that ends sooner is decoded by what there is, and the next one tells.
    """

    def __init__(
        self,
        sample_rate: int,
        rate: int,
        text: Text,
        request: Request,
        endpoint: EndpointConfig,
        voice: VoiceActivity | None,
        span: float,
    ) -> None:
        super().__init__(sample_rate, rate, voice or VoiceActivity(detector=Level()))
        self._text, self._asked, self._endpoint, self._voiced = text, request, endpoint, voice is not None
        self._pause = endpoint.voice_silence if voice else endpoint.silence
        self._patience = min(PATIENCE, span / 4)

    @property
    def language(self) -> str | None:
        return None if self._request.language == AUTO else self._request.language

    def _begin(self) -> None:
        self._gate, self._teller = Gate(), Teller(self._voiced)
        self._sure = False
        self._speak(self._asked.language)

    def _saved(self) -> tuple[dict[str, Any], list[bytes]]:
        gate = {"spans": self._gate.spans, "sure": self._sure, "language": self._request.language}
        return gate | {"teller": self._teller.snapshot()}, []

    def _load(self, told: dict[str, Any], parts: list[bytes]) -> None:
        self._gate.spans = [(begin, end) for begin, end in told["spans"]]
        self._speak(told["language"])
        self._sure = told["sure"]
        self._teller.restore(told["teller"])

    def _speak(self, language: str) -> None:
        """Go on in a language, or `AUTO`."""
        self._request = replace(self._asked, language=language)
        self._text = Text(self._text.tokenizer, self._text.frame, self._request.written)

    def _waits(self, now: float) -> bool:
        """Whether, at `now` seconds, there is too little of the first utterance to tell its language by."""
        return self.language is None and self._early(now)

    def _early(self, now: float) -> bool:
        return self._gate.seconds(now) < ENOUGH and now - (self._gate.begin or 0.0) < self._patience

    def _learn(self, language: str | None, now: float) -> None:
        """Keep the language, where one was found out by what was heard of an utterance up to `now` seconds."""
        if language is not None:
            self._speak(language)
            self._sure = not self._early(now)

    def _rest(self) -> None:
        """An utterance has ended, and with it all voice so far."""
        self._gate.forget()
        if not self._sure:
            self._speak(self._asked.language)

    def _watch(self, x: np.ndarray | None) -> list[Event]:
        """Watch the next samples for voice, or its end where there are no more; the events that tell of it."""
        assert self._voice
        marks = self._voice.flush() if x is None else self._voice.push(x)
        self._gate.take(marks)
        return [self._teller.mark(mark) for mark in marks] if self._voiced else []


def beginning(parts: Iterable[np.ndarray], size: int) -> np.ndarray:
    """The first `size` samples of a recording from shortly before there is voice, or what there is of them.

    parts: samples [n] at 16 kHz. Raises SpeechError where nobody speaks.
    """
    voice, gate, heard = VoiceActivity(detector=Level()), Gate(), 0
    kept, margin = np.zeros(0, np.float32), round((PRE_ROLL + 0.1) * SAMPLE_RATE)
    for part in parts:
        silent = gate.begin is None
        gate.take(voice.push(part))
        kept, heard = np.concatenate([kept, part]), heard + len(part)
        if silent:
            first = heard - margin if gate.begin is None else math.floor((gate.begin - PRE_ROLL) * SAMPLE_RATE)
            kept = kept[max(first - (heard - len(kept)), 0) :]
        if gate.begin is not None and len(kept) >= size:
            break
    if gate.begin is None:
        raise SpeechError("expected speech in the recording, heard none: pass one in which somebody speaks")
    return kept[:size]
