"""Whisper's tokens as words with times. Spaces and punctuation lie inside tokens; some languages have no spaces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from speech.asr.events import Partial, Segment, Word
from speech.asr.tokenizer import Tokenizer
from speech.asr.whisper.alignment import alignment
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.search import Hypothesis, Request
from speech.asr.whisper.tokenizer import Symbols
from speech.asr.words import confidence
from speech.streaming.frames import Frames

UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")
"""Languages that are written without spaces: a character counts as a word."""

LONGEST_TOKEN = 0.5
"""Seconds that a token takes at most: what is between two that are far apart is silence."""


class Timed(NamedTuple):
    """A token from the encoder frame `start` of its stream up to the frame `end`, and its log-probability."""

    id: int
    start: int
    end: int
    logprob: float


class Text:
    """Writes tokens as words. frame: seconds of an encoder frame."""

    def __init__(self, tokenizer: Tokenizer, frame: float, language: str) -> None:
        self.tokenizer, self.frame = tokenizer, frame
        self._spaced = language not in UNSPACED

    def written(self, ids: Sequence[int]) -> str:
        """What tokens spell, single spaces between words."""
        return " ".join(self.tokenizer.decode(ids).split())

    def groups(self, tokens: Sequence[Timed]) -> list[list[Timed]]:
        """The tokens of each word; punctuation belongs to the word before it."""
        groups: list[list[Timed]] = []
        for token in tokens:
            if groups and not self._begins(groups[-1], token):
                groups[-1].append(token)
            else:
                groups.append([token])
        return groups if self._spaced else self._joined(groups)

    def _begins(self, word: list[Timed], token: Timed) -> bool:
        """Whether a token begins a word, or without spaces a character, after `word`."""
        if self._spaced:
            return self.tokenizer.starts_word(token.id)
        return not self.tokenizer.decode([t.id for t in word]).endswith("\ufffd")  # the first bytes of a character

    def _joined(self, characters: list[list[Timed]]) -> list[list[Timed]]:
        """Characters, those without a sound joined to the one before."""
        groups: list[list[Timed]] = []
        for tokens in characters:
            sounds = any(c.isalnum() for c in self.tokenizer.decode([token.id for token in tokens]))
            if sounds or not groups:
                groups.append(tokens)
            else:
                groups[-1] = groups[-1] + tokens
        return groups

    def whole(self, tokens: Sequence[Timed], stable: int) -> list[list[Timed]]:
        """The words that will not change: those after which another begins among the first `stable` tokens."""
        return self.groups(tokens[:stable])[:-1]

    def partial(
        self, tokens: Sequence[Timed], stable: int, begin: float = 0.0, limit: float = math.inf
    ) -> Partial | None:
        """A running utterance from `begin` to at most `limit` seconds; None when its tokens spell nothing."""
        words = self.words(tokens, begin, limit)
        if not words:
            return None
        kept = [token.id for word in self.whole(tokens, stable) for token in word]
        text = self.written([token.id for token in tokens])
        return Partial(text, len(self.written(kept)), words[0].start, words[-1].end)

    def segment(self, tokens: Sequence[Timed], begin: float = 0.0, limit: float = math.inf) -> Segment | None:
        """A whole utterance from `begin` to at most `limit` seconds; None when its tokens spell nothing."""
        words = tuple(self.words(tokens, begin, limit))
        if not words:
            return None
        text = self.written([token.id for token in tokens])
        return Segment(text, words, words[0].start, words[-1].end, confidence([token.logprob for token in tokens]))

    def words(self, tokens: Sequence[Timed], begin: float = 0.0, limit: float = math.inf) -> list[Word]:
        """The words that the tokens spell, one after another from `begin` to at most `limit` seconds."""
        words, before = [], begin
        for group in self.groups(tokens):
            first, last = group[0], group[-1]
            start = min(max(before, first.start * self.frame, first.end * self.frame - LONGEST_TOKEN), limit)
            before = min(max(last.end * self.frame, start), limit)
            if text := self.written([token.id for token in group]):
                words.append(Word(text, round(start, 3), round(before, 3), confidence([t.logprob for t in group])))
        return words


def spread(hypothesis: Hypothesis, chunk: int) -> list[Timed]:
    """The tokens of a hypothesis that was decoded every `chunk` frames, those of one chunk evenly spread over it.

    When a token came says only in which chunk it ended; causal Whisper learns from words whose time is split evenly
    over their tokens (arXiv 2508.12301).
    """
    tokens: list[Timed] = []
    for i, (token, frame, logprob) in enumerate(
        zip(hypothesis.ids, hypothesis.frames, hypothesis.logprobs, strict=True)
    ):
        together = hypothesis.frames.count(frame)
        after = together - 1 - (i - hypothesis.frames.index(frame))
        end = frame + 1 - after * chunk // together
        tokens.append(Timed(token, tokens[-1].end if tokens else 0, end, logprob))
    return tokens


def aligned(
    decoder: Decoder,
    request: Request,
    tokens: Sequence[Timed],
    heard: Frames,
    start: int,
    count: int | None = None,
    given: Sequence[int] = (),
) -> list[Timed]:
    """The tokens of a finished text with their frames by cross-attention.

    heard: encoder frames [1, t, d] of the text, the first of them frame `start` of the stream. count: so many of them
    are sound (all), the others fill a window up. given: ids of the text before the tokens, which were heard, too.
    """
    opening = Symbols(decoder.config.vocabulary).prompt(request.language, request.task)
    ends = alignment(decoder, opening, [*given, *(token.id for token in tokens)], heard, count)
    spans = list(pairwise([start, *(start + end for end in ends)]))[len(given) :]
    return [token._replace(start=begin, end=end) for token, (begin, end) in zip(tokens, spans, strict=True)]
