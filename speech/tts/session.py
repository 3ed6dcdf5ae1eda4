"""One stream of speech: text goes in as it comes, sound comes out as soon as it can."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import torch
from torch import Tensor

from speech.audio.file import Audio
from speech.audio.limiter import limited
from speech.errors import SpeechError
from speech.tts.aligned import AlignedScript
from speech.tts.generation import Generation
from speech.tts.layout import Utterance
from speech.tts.lm import TextSpeechLM
from speech.tts.reader import Reader, WordSpan
from speech.tts.render import Acoustics, Renderer
from speech.tts.sampling import Sampler, SamplingConfig, uniform
from speech.tts.stages import Stages
from speech.tts.stretch import FASTEST, SLOWEST
from speech.tts.text.frontend import FrontEnd, Piece
from speech.tts.voice import Voice

SLICE = 500  # characters that the front end reads at a time: so the beginning of a book does not wait for its end


@dataclass(frozen=True)
class SpokenWord:
    """A word and when it is spoken, in seconds from the stream's start."""

    text: str
    start: float
    end: float

    def to_dict(self, begun: float = 0.0) -> dict[str, Any]:
        """Plain data, times to the millisecond. begun: when the stream itself began, in seconds."""
        return {"text": self.text, "start": round(begun + self.start, 3), "end": round(begun + self.end, 3)}


@dataclass(frozen=True)
class Speech(Audio):
    """Sound, and the words of which the end is now known. A model that reads byte pairs tells no words apart."""

    words: tuple[SpokenWord, ...] = ()


@dataclass(frozen=True)
class Setup:
    """What all streams of a synthesiser share."""

    lm: TextSpeechLM
    acoustics: Acoustics
    reader: Reader
    sampling: SamplingConfig
    sample_rate: int


@dataclass
class _Sequence:
    """A sequence of the language model: its codes as they come, and the words of it whose times are not known yet."""

    generation: Generation
    begun: int  # codes of the renderer's stream before it
    ids: int = 0
    words: deque[WordSpan] = field(default_factory=deque)

    def spoken(self) -> Iterator[tuple[str, int, int]]:
        """The words whose codes have all come: text, first code and the one after the last, in the renderer's count."""
        script = self.generation.script
        starts = script.starts if isinstance(script, AlignedScript) else []
        while self.words and self.words[0].last < len(starts):
            word = self.words.popleft()
            yield word.text, self.begun + starts[word.first], self.begun + starts[word.last]


class Session:
    """A stream in one voice. `push` text, then `flush`; both yield sound as it is made, and `close` at the end.

    What is said depends on text, voice, speed and seed alone, not on how the text was cut. Once `cancelled` is set, at
    any time and from any thread, what is yet to be said is dropped.
    """

    def __init__(self, setup: Setup, voice: Voice, speed: float, seed: int | None, front_end: FrontEnd) -> None:
        self.setup, self.voice, self.speed, self.front_end = setup, voice, speed, front_end
        self.cancelled, self.stages = Event(), Stages()
        self.samples = 0  # that have come
        self._foreign: dict[str, None] = {}
        self._sampler = Sampler(setup.sampling, uniform(None if seed is None else torch.Generator().manual_seed(seed)))
        self._sequence: _Sequence | None = None
        self._renderer: Renderer | None = None
        self._words: deque[tuple[str, int, int]] = deque()  # that are not rendered yet
        self._read = False  # whether there was anything to say

    def push(self, text: str) -> Iterator[Speech]:
        """Take the next characters, any number of them."""
        for start in range(0, len(text), SLICE):
            with self.stages.timed("text"):
                pieces = self.front_end.push(text[start : start + SLICE])
            for piece in pieces:
                yield from self._speak(piece)

    def flush(self) -> Iterator[Speech]:
        """Say the rest. Raises SpeechError if the text had nothing that can be said, or the model says nothing."""
        with self.stages.timed("text"):
            pieces = self.front_end.flush()
        for piece in pieces:
            yield from self._speak(piece)
        yield from self._finish()
        if self.cancelled.is_set() or self.stages.codes:
            return
        if self._read:
            raise SpeechError("expected the model to speak, it ended at once: try another seed or another voice")
        what = f"got {''.join(self._foreign)} only" if self._foreign else "got none"
        raise SpeechError(f"expected text with words that this voice can say, {what}: write at least one")

    def close(self) -> None:
        """Give back what is held for text that was not said."""
        if self._sequence is not None:
            self._sequence.generation.close()
        self._sequence = self._renderer = None

    @property
    def warnings(self) -> list[str]:
        """One sentence each for markup that was not understood and letters that were left out."""
        foreign = "".join(self._foreign)
        left_out = [f"expected letters that this voice can say, got also {foreign}: they are left out"]
        return [*self.front_end.warnings, *(left_out if foreign and self.stages.codes else [])]

    def _speak(self, piece: Piece) -> Iterator[Speech]:
        """Sound of a piece and of what was held before it; a pause after it ends both streams, then is silence."""
        reader, sequence = self.setup.reader, self._sequence
        with self.stages.timed("text"):
            self._foreign.update(dict.fromkeys(reader.foreign(piece)))
            reading = reader.read(piece, sequence.ids if sequence else 0)
        if sequence and reading.ids and sequence.ids + len(reading.ids) > reader.longest:
            yield from self._end_sequence()
            sequence, reading = None, reader.read(piece, 0)
        if reading.ids:
            self._read = True
            sequence = sequence or self._begin_sequence()
            sequence.generation.push(reading.ids)
            sequence.ids += len(reading.ids)
            sequence.words.extend(reading.words)
            yield from self._run(sequence, min(max(self.speed * piece.rate, SLOWEST), FASTEST))
        if piece.pause:
            yield from self._finish()
            yield from self._given(torch.zeros(round(piece.pause * self.setup.sample_rate)))

    def _begin_sequence(self) -> _Sequence:
        voice = self.voice
        if self._renderer is None:
            with self.stages.timed("flow"):
                self._renderer = self.setup.acoustics.stream(voice, self.samples, self.stages)
        prompt = Utterance(
            tuple(voice.text.tolist()), tuple(voice.codes.tolist()) if len(voice.text) else (), voice=voice.index
        )
        script = self.setup.reader.script(prompt)
        self._sequence = _Sequence(Generation(self.setup.lm, script, self._sampler), self._renderer.received)
        return self._sequence

    def _run(self, sequence: _Sequence, speed: float) -> Iterator[Speech]:
        """Sound of the codes that the text so far allows."""
        codes = sequence.generation.codes()
        while self._renderer is not None and not self.cancelled.is_set():
            try:
                with self.stages.timed("lm"):
                    code = next(codes, None)
            except SpeechError:
                yield from self._end_sound()
                raise
            self._words.extend(sequence.spoken())
            if code is None:
                return
            self.stages.codes += 1
            yield from self._given(self._renderer.push([code], speed, sequence.generation.script.symbol))

    def _end_sequence(self) -> Iterator[Speech]:
        """The rest of the sequence; the renderer goes on with the next one."""
        sequence = self._sequence
        if sequence is not None:
            sequence.generation.end()
            yield from self._run(sequence, self.speed)
            sequence.generation.close()
            self._sequence = None

    def _end_sound(self) -> Iterator[Speech]:
        """What the renderer still holds."""
        if self._renderer is not None and not self.cancelled.is_set():
            yield from self._given(self._renderer.flush())
        self._renderer = None

    def _finish(self) -> Iterator[Speech]:
        """The rest of the sequence and of the sound."""
        yield from self._end_sequence()
        yield from self._end_sound()

    def _given(self, samples: Tensor) -> Iterator[Speech]:
        """Samples, where there are some, as the next sound of the stream."""
        if not len(samples) or self.cancelled.is_set():
            return
        self.samples += len(samples)
        words = []
        while self._renderer is not None and self._words and self._renderer.begins(self._words[0][2]) <= self.samples:
            text, first, last = self._words.popleft()
            start, end = (self._renderer.begins(code) / self.setup.sample_rate for code in (first, last))
            words.append(SpokenWord(text, start, end))
        sound = limited(self.voice.gain * samples.float().cpu().numpy())
        yield Speech(sound, self.setup.sample_rate, tuple(words))
