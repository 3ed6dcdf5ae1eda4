"""The best CTC path that spells a known text (Graves et al. 2006), and how a vocabulary spells one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isqrt
from unicodedata import combining, normalize

import numpy as np

from speech.asr.tokenizer import Tokenizer
from speech.errors import SpeechError

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
"""Letters and digits, apostrophes between them."""

_SPECIAL = re.compile(r"<.*>|\[.*\]")
"""Pieces that stand for no text of their own, such as <unk> and [UNK]."""

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc", "'"))


def spelt(word: str, tokenizer: Tokenizer) -> list[int]:
    """The tokens of a word as the vocabulary can spell it; none where it cannot.

    It may stand as it is, in lower case, as its letters alone ("well-known" is two words then), or without accents: the
    first of these counts.
    """
    plain = word.translate(_APOSTROPHES).strip("'")
    letters = " ".join(WORD.findall(plain.lower()))
    bare = "".join(c for c in normalize("NFKD", letters) if not combining(c))
    for form in (plain, plain.lower(), letters, bare):
        try:
            ids = tokenizer.encode(form)
        except SpeechError:  # a vocabulary without a token for what it does not know
            continue
        if ids and not any(_SPECIAL.fullmatch(tokenizer.pieces[id]) for id in ids):
            return ids
    return []


def best_path(scores: np.ndarray, tokens: Sequence[int], blank: int, whole: bool = True) -> np.ndarray | None:
    """Which token every frame belongs to on the most likely path that spells `tokens`, or (not `whole`) the first ones.

    scores: [t, v] log-probabilities -> [t] int64, positions in `tokens`, -1 for a blank; None where there are too few
    frames. Viterbi's algorithm over states blank, token, blank, token, ..., blank.

    Of its way it keeps every sqrt(t)-th column and makes the others a second time on the way back, so that an hour of
    speech takes 0.1 GB instead of the 2 GB of a whole lattice. Time grows with frames times tokens.
    """
    count, states = len(scores), 2 * len(tokens) + 1
    labels = np.full(states, blank)
    labels[1::2] = tokens
    skip = np.full(states, -np.inf)  # from token to token, unless they are the same
    skip[3::2][labels[3::2] != labels[1:-2:2]] = 0.0

    def after(frame: int, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best sum in each state when `frame` was taken, and by how many states it was come to: 0, 1 or 2."""
        before = np.concatenate([[-np.inf, -np.inf], best])
        one, two = before[1:-1], before[:-2] + skip
        came = (one > best).astype(np.int8)
        most = np.maximum(one, best)
        came[two > most] = 2
        return np.maximum(two, most) + scores[frame, labels], came

    best = np.full(states, -np.inf)
    best[0] = 0.0
    block, kept = isqrt(count) + 1, []
    for first in range(0, count, block):
        kept.append(best)
        for frame in range(first, min(first + block, count)):
            best, _ = after(frame, best)
    state = max(states - 2, 0) + int(best[-2:].argmax()) if whole else int(best.argmax())
    if best[state] == -np.inf:
        return None
    path = np.empty(count, np.int64)
    for first in reversed(range(0, count, block)):
        best, steps = kept.pop(), []
        for frame in range(first, min(first + block, count)):
            best, came = after(frame, best)
            steps.append(came)
        for frame in reversed(range(first, first + len(steps))):
            path[frame] = state
            state -= int(steps[frame - first][state])
    return np.where(path % 2 == 1, path // 2, -1)


def spans(path: np.ndarray) -> np.ndarray:
    """The first frame of each token that a path comes to, and the frame behind its last. [t] -> [u, 2]."""
    frames = np.flatnonzero(path >= 0)
    tokens = np.arange(path.max(initial=-1) + 1)
    first, behind = (np.searchsorted(path[frames], tokens, side) for side in ("left", "right"))
    return np.stack([frames[first], frames[behind - 1] + 1], 1)
