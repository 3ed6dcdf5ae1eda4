"""When words were said, read off the decoder's cross attention: slower than emission, and finer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.tokenizer import Symbols
from speech.streaming.frames import Frames

WIDTH = 7
"""Frames of the median filter."""


@torch.inference_mode()
def alignment(
    decoder: Decoder, opening: Sequence[int], ids: Sequence[int], heard: Frames, count: int | None = None
) -> list[int]:
    """For each id of a finished text the encoder frame at which it ends, and the next begins.

    opening: what the decoder is told before the text (`Symbols.prompt`). heard: encoder frames [1, t, d] of the text,
    from the first of which the answers count. count: so many of them may be an answer (all): the others fill a window
    up.

    As Whisper finds the times of words: attention of each of the configured `alignment_heads`, standardised over the
    ids, smoothed by a median over time, averaged over the heads; then the cheapest monotonic path through it. What an
    id attends to is where the next one is said, so an id ends where the path comes to its own row.
    """
    count = int(heard.lengths[0]) if count is None else count
    if not ids or not count:
        return [0] * len(ids)
    config, last = decoder.config, len(opening) + len(ids)
    sequence = [*opening, *ids, Symbols(config.vocabulary).end][: config.tokens]  # a full text leaves the end no room
    weights = decoder.attention(torch.tensor(sequence, device=heard.data.device), heard)[..., :count]
    layers, width = weights.shape[:2]
    upper = [(i, h) for i in range(layers // 2, layers) for h in range(width)]
    heads = config.alignment_heads or upper
    chosen = torch.stack([weights[i, h] for i, h in heads]).float()
    chosen = chosen / chosen.sum(-1, keepdim=True).clamp(min=1e-30)  # as if the others had not been heard
    spread, mean = torch.std_mean(chosen, dim=-2, keepdim=True, correction=0)
    match = median((chosen - mean) / spread.clamp(min=1e-30)).mean(0)[len(opening) - 1 : last]
    rows, columns = path(-match.cpu().double().numpy())
    return columns[np.diff(rows, prepend=-1) > 0][1:].tolist()


def median(x: Tensor) -> Tensor:
    """The median of the `WIDTH` values around each, mirrored at the edges. [..., t] -> [..., t]."""
    side = WIDTH // 2
    if x.shape[-1] <= side:
        return x
    padded = pad(x, (side, side), mode="reflect")
    return padded.unfold(-1, WIDTH, 1).median(-1).values


def path(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest way from the first to the last cell of cost [n, m] by steps down, right or both.

    Returns the rows and columns of its cells. Sums are made one anti-diagonal at a time, whose cells do not depend on
    one another (dynamic time warping, Sakoe and Chiba 1978).
    """
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    step = np.zeros((n + 1, m + 1), dtype=np.int8)
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        before = np.stack([total[i - 1, j], total[i, j - 1], total[i - 1, j - 1]])
        step[i, j] = choice = before.argmin(0)
        total[i, j] = cost[i - 1, j - 1] + before[choice, np.arange(len(i))]
    i, j, cells = n, m, []
    while i and j:
        cells.append((i - 1, j - 1))
        down, right = ((1, 0), (0, 1), (1, 1))[step[i, j]]
        i, j = i - down, j - right
    rows, columns = np.array(cells[::-1]).T
    return rows, columns
