"""Frame targets: which token every encoder frame should show, from the times at which words were spoken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recipes.asr_small.batches import FRAMES_PER_SECOND
from speech.asr.tokenizer import Tokenizer

IGNORED = -100
"""The target of a frame of which nothing is known, as PyTorch's cross entropy has it."""

EARLY = 0.04
"""Seconds by which the frame at second t looks back: half of what it spans, since the front end is causal."""

Span = tuple[float, float, int]
"""Begin and end of a token in seconds, and its id."""


def token_spans(text: str, words: Sequence[Sequence[float]], tokenizer: Tokenizer) -> list[Span]:
    """Tokens laid out inside their words, each as long as its share of the word's letters.

    words: (begin, end) of every word of `text`, in seconds.
    """
    spans: list[Span] = []
    for word, (begin, end) in zip(text.split(), words, strict=True):
        tokens = tokenizer.encode(word)
        letters = [max(1, len(tokenizer.pieces[token].replace("▁", ""))) for token in tokens]
        edges = begin + (end - begin) * np.cumsum([0, *letters]) / sum(letters)
        spans += [(float(a), float(b), token) for a, b, token in zip(edges[:-1], edges[1:], tokens, strict=True)]
    return spans


def frame_targets(spans: Sequence[Span] | None, seconds: float, stretch: float, blank: int) -> np.ndarray:
    """[t] int64, for every encoder frame of `seconds` of speech the token that is being spoken, or the blank.

    stretch: how much longer the speech has become since the spans were measured. Without spans all is IGNORED.
    """
    count = int(seconds * FRAMES_PER_SECOND) + 1
    if not spans:
        return np.full(count, IGNORED)
    begins, ends, tokens = (np.array(column) for column in zip(*spans, strict=True))
    at = (np.arange(count) / FRAMES_PER_SECOND - EARLY).clip(min=0) / stretch
    latest = np.searchsorted(begins, at, side="right") - 1
    return np.where((latest >= 0) & (at < ends[latest]), tokens[latest], blank)
