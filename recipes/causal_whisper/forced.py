"""Forced alignment of a known text under a CTC recogniser (Graves et al. 2006): the best path, and what it spans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best_path(scores: np.ndarray, tokens: Sequence[int], blank: int) -> np.ndarray | None:
    """Which token every frame belongs to on the most likely path that spells `tokens`.

    scores: [t, v] log-probabilities -> [t] int64, positions in `tokens`, -1 for a blank; None where there are too few
    frames. Viterbi's algorithm over states blank, token, blank, token, ..., blank.
    """
    count, states = len(scores), 2 * len(tokens) + 1
    labels = np.full(states, blank)
    labels[1::2] = tokens
    skips = np.zeros(states, bool)  # from token to token, unless they are the same
    skips[3::2] = labels[3::2] != labels[1:-2:2]
    best = np.full(states, -np.inf)
    best[:2] = scores[0, labels[:2]]
    came = np.zeros((count, states), np.int8)
    for t in range(1, count):
        one = np.concatenate([[-np.inf], best[:-1]])
        two = np.where(skips, np.concatenate([[-np.inf, -np.inf], best[:-2]])[:states], -np.inf)
        ways = np.stack([best, one, two])
        came[t] = ways.argmax(0)
        best = ways.max(0) + scores[t, labels]
    state = states - 1 if states == 1 or best[-1] > best[-2] else states - 2
    if best[state] == -np.inf:
        return None
    path = np.empty(count, np.int64)
    for t in range(count - 1, -1, -1):
        path[t] = state
        state -= int(came[t, state])
    return np.where(path % 2 == 1, path // 2, -1)


def spans(path: np.ndarray, count: int) -> np.ndarray:
    """First frame of each of `count` tokens on a path, and the frame behind its last. [count, 2]."""
    first = np.array([np.flatnonzero(path == i)[0] for i in range(count)], np.int64)
    last = np.array([np.flatnonzero(path == i)[-1] for i in range(count)], np.int64)
    return np.stack([first, last + 1], 1) if count else np.zeros((0, 2), np.int64)
