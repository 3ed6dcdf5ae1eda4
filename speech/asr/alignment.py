"""When the words of a known text are said: forced alignment under a recogniser's CTC head."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

import numpy as np
import torch

from speech.asr.events import Segment, Transcript, Word
from speech.asr.forced import best_path, spans, spelt
from speech.asr.tokenizer import Tokenizer
from speech.asr.words import confidence
from speech.audio.resample import Resampler
from speech.errors import SpeechError
from speech.streaming.driver import Driver
from speech.streaming.engine.host import Regular
from speech.streaming.lane import Asking, Lane, Seat, alone
from speech.streaming.module import Streaming
from speech.streaming.timing import phase_for

Progress = Callable[[float], None] | None

SILENCE = 1e-3
"""A recording with no sample as loud as this (-60 dB) is silent."""

BEYOND = 2
"""Words after an utterance that must have begun before it counts as over."""


@dataclass(frozen=True, eq=False)
class Aligner:
    """What the alignments of one model share.

    scorer: samples [b, n] at `rate` Hz to log-probabilities [b, t, tokens + 1], the blank last. delay: seconds by which
    its labels follow the sound.
    """

    scorer: Streaming
    tokenizer: Tokenizer
    rate: int
    delay: float = 0.0

    @cached_property
    def phase(self) -> int:
        """The sample index at which streams begin."""
        return phase_for(self.scorer)

    @property
    def frame(self) -> float:
        """Seconds of a frame of scores."""
        return self.scorer.down / self.scorer.up / self.rate

    def lane(self, slots: int = 1) -> Lane:
        """Room for so many streams."""
        return Lane(self.scorer, slots, answers="cpu")

    def regular(self, lane: Lane) -> Regular:
        """The step that alignments of live sound take in this lane, over and over."""
        grain = self.scorer.grain
        return Regular(lane, grain, self.phase, (), torch.float32, self.rate / grain, "aligner")


@dataclass(frozen=True)
class Expected:
    """A word of a text. known: whether the vocabulary spells it; its tokens are a star else. utterance: its number."""

    text: str
    tokens: Sequence[int]
    known: bool
    utterance: int


class Alignment:
    """Utterances that are known and their sound, which may both come in pieces, the text before its sound has ended.

    A word that the vocabulary cannot spell is whatever is heard between its neighbours: a token that stands for the
    best one of each frame (the star of Pratap et al. 2023, arXiv 2305.13516).

    sample_rate: of the sound, in Hz. step: seconds that are scored at once, at least. lane: where it steps (default: of
    its own).
    """

    def __init__(self, aligner: Aligner, sample_rate: int, lane: Lane | None = None, step: float = 0.0) -> None:
        self.aligner, self.sample_rate, grain = aligner, sample_rate, aligner.scorer.grain
        self._resampler = Resampler(sample_rate, aligner.rate)
        chunk = grain * max(1, round(step * aligner.rate / grain))
        self._driver = Driver(
            aligner.scorer, chunk, phase=aligner.phase, input_dtype=torch.float32, lane=lane or aligner.lane()
        )
        self._blank = len(aligner.tokenizer)
        self._begin()

    @property
    def seat(self) -> Seat:
        """Where all that the network knows of the sound lies."""
        return self._driver.seat

    @property
    def duration(self) -> float:
        """Seconds of sound that came."""
        return self._received / self.sample_rate

    @property
    def expected(self) -> Sequence[Expected]:
        """The words of which it is not yet told when they are said."""
        return self._expected

    def reset(self) -> None:
        """Begin another alignment: times start at 0 again."""
        self._driver.reset()
        self._resampler = Resampler(self.sample_rate, self.aligner.rate)
        self._begin()

    def _begin(self) -> None:
        self._received = self._utterances = 0
        self._expected: list[Expected] = []
        self._scores: list[np.ndarray] = []  # [t, tokens + blank + star]
        self._passed = 0  # frames before them

    def expect(self, words: Iterable[str]) -> None:
        """The words of the next utterance."""
        tokenizer, star = self.aligner.tokenizer, self._blank + 1
        for word in words:
            tokens = spelt(word, tokenizer)
            self._expected.append(Expected(word, tokens or [star], bool(tokens), self._utterances))
        self._utterances += 1

    def hearing(self, samples: np.ndarray) -> Asking[None]:
        """Hear samples [n] float32, step by step."""
        self._received += len(samples)
        yield from self._scoring(self._resampler.push(samples))

    def settled(self) -> list[Segment]:
        """The utterances that are over by now, as the best path is well within what follows them. Each is told once."""
        if not self._expected or self._expected[0].utterance == self._expected[-1].utterance:
            return []
        if (path := self._path(whole=False)) is None:
            return []
        starts = [0, *accumulate(len(word.tokens) for word in self._expected)]
        begun = bisect_right(starts, int(path.max(initial=-1)), hi=len(self._expected))
        current = self._expected[max(begun - BEYOND, 0)].utterance
        count = sum(word.utterance < current for word in self._expected)
        if not count:
            return []
        told = self._told(path, self._expected[:count])
        self._forget(count, int(spans(path)[starts[count] - 1, 1]))
        return told

    def ending(self) -> Asking[list[Segment]]:
        """The sound has ended: all utterances left, or none if the sound is too short for them; step by step."""
        yield from self._scoring(self._resampler.flush(), last=True)
        path = self._path(whole=True)
        return [] if path is None else self._told(path, self._expected)

    def _scoring(self, samples: np.ndarray, last: bool = False) -> Asking[None]:
        scores = [(yield from self._driver.pushing(torch.tensor(samples)))]
        if last:
            scores.append((yield from self._driver.flushing()))
        new = torch.cat(scores).float().numpy()
        if len(new):
            self._scores.append(np.hstack([new, new.max(1, keepdims=True)]))

    def _tokens(self) -> list[int]:
        return [token for word in self._expected for token in word.tokens]

    def _path(self, whole: bool) -> np.ndarray | None:
        """The best path through all scores that are kept, of which one array is made."""
        self._scores = [np.concatenate([np.zeros((0, self._blank + 2), np.float32), *self._scores])]
        return best_path(self._scores[0], self._tokens(), self._blank, whole)

    def _forget(self, words: int, frames: int) -> None:
        """Go on behind the first words and frames."""
        self._expected = self._expected[words:]
        self._scores = [self._scores[0][frames:]]
        self._passed += frames

    def _told(self, path: np.ndarray, words: Sequence[Expected]) -> list[Segment]:
        """The utterances of the first words, which lie on the path."""
        labels = np.array([*self._tokens(), self._blank])[path]
        logprobs = self._scores[0][np.arange(len(path)), labels]
        edges, at, segments = spans(path), 0, []
        for _, group in groupby(words, lambda word: word.utterance):
            told, heard = [], []
            for word in group:
                first, behind = edges[at, 0], edges[at + len(word.tokens) - 1, 1]
                known = logprobs[first:behind].tolist() if word.known else []
                start, end = self._time(first), self._time(behind)
                told.append(Word(word.text, start, end, confidence(known) if known else 0.0))
                heard += known
                at += len(word.tokens)
            text, sure = " ".join(word.text for word in told), confidence(heard) if heard else 0.0
            segments.append(Segment(text, tuple(told), told[0].start, told[-1].end, sure))
        return segments

    def _time(self, frame: int) -> float:
        """Seconds at which what is labelled from a frame on begins."""
        time = (self._passed + frame) * self.aligner.frame - self.aligner.delay
        return round(float(min(max(time, 0.0), self.duration)), 3)


def align(
    aligner: Aligner, rate: int, sound: Iterable[np.ndarray], text: str, *, step: float, progress: Progress = None
) -> Transcript:
    """Align a whole text, whose lines are its utterances, with a whole recording: samples at `rate` Hz, in pieces.

    step: seconds that are scored at once. progress: called with the seconds heard so far. Raises SpeechError for text
    without a word that the model can spell, for silence, and for less sound than the text takes.
    """
    alignment, loudest = Alignment(aligner, rate, step=step), 0.0
    for line in text.splitlines():
        if words := line.split():
            alignment.expect(words)
    if not any(word.known for word in alignment.expected):
        what = "words in other letters or in digits only" if alignment.expected else "none"
        raise SpeechError(f"expected text that the model can spell, got {what}: write what is said in words")
    for samples in sound:
        loudest = max(loudest, float(np.abs(samples).max(initial=0.0)))
        alone(alignment.hearing(samples))
        if progress:
            progress(alignment.duration)
    if loudest < SILENCE:
        raise SpeechError(
            f"expected speech, got {alignment.duration:.1f} s in which no sample is above -60 dB: check the recording"
        )
    segments = alone(alignment.ending())
    if not segments:
        raise SpeechError(
            f"expected a text that can be said in {alignment.duration:.1f} s, got {len(alignment.expected)} words: "
            "give the text of this recording alone"
        )
    return Transcript(tuple(segments), round(alignment.duration, 3))
