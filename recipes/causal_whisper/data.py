"""Batches: stretches of utterances, cut between words, of about one length, with the times of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from lhotse import MonoCut
from torch import Tensor
from torch.utils.data import Dataset

from recipes.asr_small.augment import AugmentConfig, augment
from recipes.asr_small.dataset import padded
from recipes.causal_whisper.labels import IGNORED, Span, sequence_ends, token_ends
from recipes.causal_whisper.settings import CropConfig, WhisperSettings
from recipes.causal_whisper.vocabulary import Vocabulary
from recipes.common.cache import RATE, AudioCache
from recipes.common.prepare import cache, held_out
from recipes.common.training import Resumable
from recipes.tts_small.content_training import CLASSES
from recipes.tts_small.pools import Numbered, Weighted
from recipes.tts_small.tracks import SILENCE, unstressed
from speech.asr.whisper.config import FACTOR
from speech.asr.whisper.tokenizer import WhisperTokenizer
from speech.audio.mel import WHISPER
from speech.errors import SpeechError
from speech.tts.text.lexicon import Lexicon

FRAME = FACTOR * WHISPER.hop
"""Samples of an encoder frame."""


class Utterance(NamedTuple):
    """An utterance whose words are known: the tokens of each, and when it was spoken, in seconds."""

    audio: AudioCache
    cut: MonoCut
    words: list[list[int]]
    times: list[Span]


class Batch(NamedTuple):
    """samples: [b, n]; lengths: [b] samples. before: [b, u], what the decoder is given, as rows of the vocabulary (not
    ids); labels: [b, u], what follows, IGNORED behind the end; ends: [b, u] seconds by which a label has been spoken.

    phones: [b, t], which of `CLASSES` is being spoken in every encoder frame. seed: for draws that are made later.
    """

    samples: Tensor
    lengths: Tensor
    before: Tensor
    labels: Tensor
    ends: Tensor
    phones: Tensor
    seed: int

    @property
    def seconds(self) -> float:
        """Seconds of speech, padding not counted."""
        return float(self.lengths.sum()) / RATE


class Crops(Dataset):
    """Item number -> Batch. All draws follow from the seed and the number.

    For every batch a length is drawn; an utterance that is longer gives a stretch from a random word on. Raises
    SpeechError without utterances.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        vocabulary: Vocabulary,
        config: CropConfig,
        seed: tuple[int, ...],
        augmentation: AugmentConfig | None,
    ) -> None:
        if not utterances:
            raise SpeechError("expected utterances with word times, found none: run stage=align first")
        self.utterances, self.vocabulary, self.config = utterances, vocabulary, config
        self.seed, self.augmentation = seed, augmentation
        self.lexicon = Lexicon()
        self.draw = Weighted([utterance.cut.duration for utterance in utterances])

    def __getitem__(self, number: int) -> Batch:
        rng, c = np.random.default_rng((*self.seed, number)), self.config
        longest = rng.uniform(c.shortest, c.longest)
        rows = [self._row(self.utterances[self.draw(rng)], longest, rng) for _ in range(int(c.seconds / longest))]
        samples, before, labels, ends, phones = zip(*rows, strict=True)
        return Batch(
            samples=padded(samples),
            lengths=torch.tensor([len(x) for x in samples]),
            before=padded(before),
            labels=padded(labels, IGNORED),
            ends=padded(ends),
            phones=padded(phones, IGNORED),
            seed=int(rng.integers(1 << 31)),
        )

    def _row(self, utterance: Utterance, longest: float, rng: np.random.Generator) -> tuple[Tensor, ...]:
        first, last = stretch(utterance.times, longest, rng)
        begin, end = edges(utterance, first, last, longest)
        words = utterance.words[first:last]
        x = utterance.audio.audio(utterance.cut)[round(begin * RATE) : round(end * RATE)]
        plain = len(x)
        if self.augmentation is not None:
            x = augment(x, (), self.augmentation, rng)
        slower = len(x) / max(plain, 1)
        times = [((a - begin) * slower, (b - begin) * slower) for a, b in utterance.times[first:last]]
        tokens = [token for word in words for token in word]
        text = (utterance.cut.supervisions[0].text or "").split()[first:last]
        phones = [[CLASSES.index(unstressed(phone)) for phone in self.lexicon.word(word)] for word in text]
        prompt, row = self.vocabulary.symbols.prompt(), self.vocabulary.row
        due = sequence_ends(len(prompt) - 1, times, [len(word) for word in words])
        return (
            torch.from_numpy(x),
            row[torch.tensor([*prompt, *tokens])],
            row[torch.tensor([*prompt[1:], *tokens, self.vocabulary.symbols.end])],
            torch.tensor(due),
            spoken(phones, times, len(x) // FRAME),
        )


def stretch(times: Sequence[Span], longest: float, rng: np.random.Generator) -> tuple[int, int]:
    """The first word of a random stretch and the one behind its last: as many as `longest` seconds hold, one at least.

    All of them where they fit.
    """
    if times[-1][1] - times[0][0] <= longest:
        return 0, len(times)
    begins, ends = np.array(times).T
    starts = int(np.searchsorted(begins, ends[-1] - longest / 2))  # later ones would leave little
    first = int(rng.integers(max(starts, 1)))
    last = int(np.searchsorted(ends, begins[first] + longest, side="right"))
    return first, max(last, first + 1)


def edges(utterance: Utterance, first: int, last: int, longest: float) -> Span:
    """Where a stretch of words is cut, in seconds: half way to the words around it, or as silence allows."""
    times, slack = utterance.times, 0.5
    before = (times[first - 1][1] + times[first][0]) / 2 if first else 0.0
    after = (times[last - 1][1] + times[last][0]) / 2 if last < len(times) else utterance.cut.duration
    begin = max(before, times[first][0] - slack)
    return begin, max(min(after, times[last - 1][1] + slack), begin + 0.1)


def spoken(phones: Sequence[Sequence[int]], times: Sequence[Span], frames: int) -> Tensor:
    """The class of every encoder frame, silence between words; a word's phones share its time evenly. -> [frames]."""
    counts = [len(word) for word in phones]
    ends = np.array(token_ends(times, counts))
    begins = np.repeat([begin for begin, _ in times], counts)
    begins[1:] = np.maximum(begins[1:], ends[:-1])
    at = (np.arange(frames) + 0.5) * FRAME / RATE
    latest = np.searchsorted(begins, at, side="right") - 1
    inside = (latest >= 0) & (at < ends[latest])
    return torch.from_numpy(np.where(inside, np.concatenate(phones)[latest], CLASSES.index(SILENCE)))


def aligned(settings: WhisperSettings, tokenizer: WhisperTokenizer, name: str) -> list[Utterance]:
    """The utterances of a corpus whose word times are known."""
    audio = cache(settings, name)
    times, rows = audio.word_times(), []
    for cut in audio.cuts():
        words = (cut.supervisions[0].text or "").split()
        if words and len(times.get(cut.id, ())) == len(words):
            tokens = [tokenizer.encode(f" {word}") for word in words]
            rows.append(Utterance(audio, cut, tokens, times[cut.id]))
    return rows


def crops(settings: WhisperSettings, module: Resumable, config: CropConfig) -> Numbered:
    """Augmented stretches of the training corpora, and plain ones of what is held out of them."""
    vocabulary = Vocabulary.read(settings.vocabulary)
    tokenizer = WhisperTokenizer.load(settings.tokenizer, vocabulary.symbols)
    rows = [row for name in settings.raw.data.train for row in aligned(settings, tokenizer, name)]
    seed, held = settings.raw.seed, [row for row in rows if held_out(row.cut)]
    train = Crops([row for row in rows if not held_out(row.cut)], vocabulary, config, (seed,), settings.augment)
    judge = Crops(held, vocabulary, config, (seed, 1), None) if held and config.held_out else None
    return Numbered(settings, module, train, judge, config.held_out)
