"""One stream of speech: text goes in as it comes, sound comes out as soon as it can."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from threading import Event
from typing import Any, NamedTuple

import torch
from torch import Tensor

from speech.asr.alignment import Alignment
from speech.audio.file import Audio
from speech.audio.limiter import limited
from speech.errors import SpeechError
from speech.streaming.lane import Asking, Call, Lane, Seat, speaking
from speech.tts.aligned import AlignedScript
from speech.tts.generation import Generation
from speech.tts.layout import Utterance
from speech.tts.lm import TextSpeechLM
from speech.tts.reader import Reader, WordSpan
from speech.tts.render import Acoustics, Renderer, SoundLanes
from speech.tts.sampling import Sampler, SamplingConfig, seeded, uniform
from speech.tts.scoring import code_lanes
from speech.tts.stages import Stages
from speech.tts.stretch import FASTEST, SLOWEST
from speech.tts.text.frontend import FrontEnd, Piece
from speech.tts.voice import Voice
from speech.tts.words import SpokenWord, SpokenWords

SLICE = 500  # characters that the front end reads at a time: so the beginning of a book does not wait for its end


@dataclass(frozen=True)
class Speech(Audio):
    """Sound, and the words of which the end is now known.

    A model that reads byte pairs tells no words apart. An aligner hears when they are said: a sentence's words come
    once the next one is well under way, some two seconds behind it, or with the last sound before a pause or the end.
    Where there is too little sound for them, they do not come.
    """

    words: tuple[SpokenWord, ...] = ()


@dataclass(frozen=True)
class Setup:
    """What all streams of a synthesiser share."""

    lm: TextSpeechLM
    acoustics: Acoustics
    reader: Reader
    sampling: SamplingConfig
    sample_rate: int

    def lanes(self, slots: int = 1) -> Lanes:
        """Room for so many streams."""
        return Lanes(code_lanes(self.lm, self.sampling, slots), self.acoustics.lanes(slots))


class Lanes(NamedTuple):
    """Where streams of one setup step."""

    codes: list[Lane]
    sound: SoundLanes


@dataclass(frozen=True)
class _Place:
    """Where a session's codes and its sound are made, for one sequence and one stream of sound after another."""

    codes: list[Seat]
    renderer: Renderer
    words: SpokenWords

    @property
    def seats(self) -> list[Seat]:
        return [*self.codes, *self.renderer.seats, *self.words.seats]


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


Speaking = Generator[Call | Speech, Any, None]
"""What a session does with some text: it yields calls, is sent their answers, and yields sound amid them."""


class Session:
    """A stream in one voice. `push` text, then `flush`; both yield sound as it is made, and `close` at the end.

    What is said depends on text, voice, speed and seed alone, not on how the text was cut. Once `cancelled` is set, at
    any time and from any thread, what is yet to be said is dropped.

    lanes: where it steps beside others, by `feeding` and `ending`; it takes its seats at once. Raises `Full` where
    there are none. Default: alone, in lanes of its own, while it has something to say. aligning: begins what hears when
    words are said, where the model does not tell them apart.
    """

    def __init__(
        self,
        setup: Setup,
        voice: Voice,
        speed: float,
        seed: int | None,
        front_end: FrontEnd,
        lanes: Lanes | None = None,
        aligning: Callable[[], Alignment] | None = None,
    ) -> None:
        self.setup, self.voice, self.speed, self.front_end, self._aligning = setup, voice, speed, front_end, aligning
        self.cancelled, self.stages = Event(), Stages(alone=lanes is None)
        self.samples = 0  # that have come
        self._foreign: dict[str, None] = {}
        self._sampler = Sampler(setup.sampling, uniform(None if seed is None else seeded(seed)))
        self._sequence: _Sequence | None = None
        self._renderer: Renderer | None = None  # while a stream of sound is under way
        self._read = False  # whether there was anything to say
        self._place = self._opened(lanes) if lanes else None

    def _opened(self, lanes: Lanes | None) -> _Place:
        """A seat in every lane, or in none."""
        with torch.inference_mode(False), ExitStack() as undo:  # seats outlive the mode that streams step in
            lanes = lanes or self.setup.lanes()
            codes = [undo.enter_context(closing(lane.open())) for lane in lanes.codes]
            renderer = Renderer(self.setup.acoustics, self.voice, lanes.sound, self.stages, self.speed)
            undo.enter_context(closing(renderer))
            words = SpokenWords(self.setup.sample_rate, self._aligning() if self._aligning else None)
            undo.pop_all()
        return _Place(codes, renderer, words)

    @property
    def seats(self) -> Sequence[Seat]:
        """Where all that the networks know of the stream lies."""
        return self._place.seats if self._place else []

    def push(self, text: str) -> Iterator[Speech]:
        """Take the next characters, any number of them."""
        return speaking(self.feeding(text))

    def feeding(self, text: str) -> Speaking:
        """As `push`, step by step."""
        for start in range(0, len(text), SLICE):
            with self.stages.timed("text"):
                pieces = self.front_end.push(text[start : start + SLICE])
            for piece in pieces:
                yield from self._speak(piece)

    def flush(self) -> Iterator[Speech]:
        """Say the rest. Raises SpeechError if the text had nothing that can be said, or the model says nothing."""
        try:
            yield from speaking(self.ending())
        finally:
            self.close()

    def ending(self) -> Speaking:
        """As `flush`, step by step."""
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
        """Give back what is held for text that was not said; closing twice is fine."""
        place, self._place, self._sequence, self._renderer = self._place, None, None, None
        for seat in place.seats if place else ():
            seat.close()

    @property
    def warnings(self) -> list[str]:
        """One sentence each for markup that was not understood and letters that were left out."""
        foreign = "".join(self._foreign)
        left_out = [f"expected letters that this voice can say, got also {foreign}: they are left out"]
        return [*self.front_end.warnings, *(left_out if foreign and self.stages.codes else [])]

    def _speak(self, piece: Piece) -> Speaking:
        """Sound of a piece and of what was held before it; a pause after it ends both streams, then is silence."""
        if self.cancelled.is_set():
            return
        reader, sequence = self.setup.reader, self._sequence
        with self.stages.timed("text"):
            self._foreign.update(dict.fromkeys(reader.foreign(piece)))
            reading = reader.read(piece, sequence.ids if sequence else 0)
        if sequence and reading.ids and sequence.ids + len(reading.ids) > reader.longest:
            yield from self._end_sequence()
            sequence, reading = None, reader.read(piece, 0)
        if reading.ids:
            self._read = True
            sequence = sequence or (yield from self._begin_sequence())
            sequence.generation.push(reading.ids)
            sequence.ids += len(reading.ids)
            sequence.words.extend(reading.words)
            if self._place:
                self._place.words.expect(piece.spoken)
            yield from self._run(sequence, min(max(self.speed * piece.rate, SLOWEST), FASTEST))
        if piece.pause:
            yield from self._finish()
            yield from self._given(torch.zeros(round(piece.pause * self.setup.sample_rate)))

    def _begin_sequence(self) -> Asking[_Sequence]:
        voice = self.voice
        if self._place is None:
            with self.stages.timed("flow"):
                self._place = self._opened(None)
        codes, renderer, words = self._place.codes, self._place.renderer, self._place.words
        if self._renderer is None:
            yield from renderer.beginning(self.samples)
            words.begin(self.samples)
            self._renderer = renderer
        prompt = Utterance(
            tuple(voice.text.tolist()), tuple(voice.codes.tolist()) if len(voice.text) else (), voice=voice.index
        )
        script = self.setup.reader.script(prompt)
        self._sequence = _Sequence(Generation(self.setup.lm, script, self._sampler, codes), renderer.received)
        return self._sequence

    def _run(self, sequence: _Sequence, speed: float) -> Speaking:
        """Sound of the codes that the text so far allows."""
        generation = sequence.generation
        while (renderer := self._renderer) is not None and not self.cancelled.is_set():
            try:
                with self.stages.timed("lm"):
                    code = yield from generation.saying()
            except SpeechError:
                yield from self._end_sound()
                raise
            if self._place:
                self._place.words.know(sequence.spoken())
            if code is None:
                return
            self.stages.codes += 1
            yield from self._given((yield from renderer.pushing([code], speed, generation.script.symbol)))

    def _end_sequence(self) -> Speaking:
        """The rest of the sequence; the renderer goes on with the next one."""
        sequence = self._sequence
        if sequence is not None:
            sequence.generation.end()
            yield from self._run(sequence, self.speed)
            self._sequence = None

    def _end_sound(self) -> Speaking:
        """What the renderer still holds."""
        if self._renderer is not None and not self.cancelled.is_set():
            yield from self._given((yield from self._renderer.flushing()), last=True)
        self._renderer = None

    def _finish(self) -> Speaking:
        """The rest of the sequence and of the sound."""
        yield from self._end_sequence()
        yield from self._end_sound()

    def _given(self, samples: Tensor, last: bool = False) -> Speaking:
        """Samples, where there are some, as the next sound of the stream. last: of the renderer's.

        Words are listened for behind their sound, so that it need not wait; at the end they come with it.
        """
        if not len(samples) or self.cancelled.is_set():
            return
        self.samples += len(samples)
        sound = limited(self.voice.gain * samples.float().cpu().numpy())
        words = self._place.words if self._place and self._renderer else None
        if words and last:
            yield from words.hearing(sound, last)
        told = words.told(self._renderer, self.samples) if words else ()
        yield Speech(sound, self.setup.sample_rate, told)
        if words and not last and not self.cancelled.is_set():
            yield from words.hearing(sound, last)
