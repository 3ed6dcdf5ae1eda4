"""Weak alignment: what a listener who has heard a prefix of an utterance should write (arXiv 2508.12301).

Word times say by when each token has been spoken. For a prefix up to t the tokens that end by then are kept, the first
that does not becomes the end token, and nothing is asked about what follows. So one model learns to write what it has
heard, and to stop there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speech.asr.whisper.config import Context

IGNORED = -100
"""A label that is not asked for, as PyTorch's cross entropy has it."""

TAIL = 0.5
"""Seconds after the last word at which an utterance has ended."""

Span = tuple[float, float]
"""Begin and end in seconds."""


def token_ends(words: Sequence[Span], counts: Sequence[int]) -> list[float]:
    """When each token has been spoken: the interval of a word split evenly over its tokens. counts: tokens by word."""
    return [
        begin + (end - begin) * (k + 1) / count
        for (begin, end), count in zip(words, counts, strict=True)
        for k in range(count)
    ]


def sequence_ends(prompt: int, words: Sequence[Span], counts: Sequence[int]) -> list[float]:
    """When each label of a whole sequence is due: symbols of the prompt at once, tokens, and the end token.

    prompt: how many labels come before the text.
    """
    ends = token_ends(words, counts)
    return [0.0] * prompt + ends + [(ends[-1] if ends else 0.0) + TAIL]


def prefix_labels(labels: Tensor, ends: Tensor, heard: Tensor, end: int) -> Tensor:
    """What is asked of prefixes. labels: [b, u], IGNORED behind the end token; ends: [b, u] seconds, never falling;
    heard: [b, p] seconds of each of p prefixes; end: the end token -> [b, p, u].
    """
    there = (labels != IGNORED)[:, None]
    kept = (ends[:, None] <= heard[..., None]) & there
    at = torch.arange(labels.shape[1], device=labels.device)
    first = at == kept.sum(2, keepdim=True)
    return torch.where(kept, labels[:, None], torch.where(first & there, end, IGNORED))


def draw_prefixes(lengths: Tensor, context: Context, count: int, generator: torch.Generator) -> Tensor:
    """Ends of prefixes at which a stream would decode: those of its chunks, in encoder frames.

    lengths: [b] frames of each utterance -> [b, count] int64, of which the last is the whole utterance and the others
    lie evenly at random. Draws are made on the CPU, so that they do not depend on the device.
    """
    whole, opening = lengths.cpu(), max(context.initial, context.chunk)
    inner = (whole - opening - 1).clamp(min=0) // context.chunk + 1  # chunks that end before the utterance does
    drawn = (torch.rand(len(whole), count - 1, generator=generator) * inner[:, None]).long()
    reach = torch.cat([opening + drawn * context.chunk, whole[:, None]], 1)
    return torch.minimum(reach, whole[:, None]).to(lengths.device)
