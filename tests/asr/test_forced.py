"""The best CTC path against all paths, and how vocabularies spell words."""

from __future__ import annotations

from itertools import combinations_with_replacement, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.asr.forced import best_path, spans, spelt
from speech.asr.tokenizer import SentencePiece, WordPiece


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.lists(st.integers(0, 2), min_size=0, max_size=3), st.integers(1, 6), st.booleans())
def test_the_best_path_is_the_best_of_all_paths(seed: int, tokens: list[int], count: int, whole: bool) -> None:
    scores = np.random.default_rng(seed).normal(size=(count, 4))
    labels = [3]
    for token in tokens:
        labels += [token, 3]

    def legal(path: tuple[int, ...]) -> bool:
        """From the first blank or token to the last, leaving out blanks between tokens that differ alone."""
        steps = all(b - a < 2 or (b - a == 2 and b % 2 == 1 and labels[a] != labels[b]) for a, b in pairwise(path))
        return steps and path[0] < 2 and (path[-1] >= len(labels) - 2 or not whole)

    paths = [path for path in combinations_with_replacement(range(len(labels)), count) if legal(path)]
    found = best_path(scores, tokens, 3, whole)
    if not paths:
        assert found is None
        return
    best = max(paths, key=lambda path: sum(scores[t, labels[state]] for t, state in enumerate(path)))
    assert found is not None
    assert found.tolist() == [state // 2 if state % 2 else -1 for state in best]
    edges = spans(found)
    assert len(edges) == (len(tokens) if whole else max(best) // 2 + max(best) % 2)
    assert (edges[:, 0] < edges[:, 1]).all() and (edges[1:, 0] >= edges[:-1, 1]).all()
    assert all(found[a] == found[b - 1] == i for i, (a, b) in enumerate(edges.tolist()))


def test_a_path_without_frames() -> None:
    nothing = np.zeros((0, 4))
    assert best_path(nothing, [1], 3) is None
    path = best_path(nothing, [], 3)
    assert path is not None and spans(path).shape == (0, 2)


@pytest.mark.parametrize(
    ("word", "spelling"),
    [
        ("mat", "mat"),
        ("Mat,", "mat"),
        ("'THE'", "the"),
        ("h\u00e2t\u00e9", "hate"),
        ("red-hat", "red hat"),
        ("42", ""),
        ("&", ""),
        ("ten4", ""),
        ("\u65e5\u672c", ""),
    ],
)
def test_words_are_spelt_as_far_as_the_vocabulary_can(tokenizer: SentencePiece, word: str, spelling: str) -> None:
    assert spelt(word, tokenizer) == (tokenizer.encode(spelling) if spelling else [])


@pytest.mark.parametrize("unknown", ["", "[UNK]\n"])
def test_a_vocabulary_with_and_without_a_piece_for_what_it_does_not_know(unknown: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text(f"{unknown}a\n##b\nA\n##,\nc'\n##a\n")
    tokenizer = WordPiece(tmp_path / "vocab.txt")
    for word, written in (("ab", "ab"), ("Ab", "Ab"), ("ab,", "ab,"), ("AB!", "ab"), ("c\u2019a", "c'a")):
        assert tokenizer.decode(spelt(word, tokenizer)) == written
    assert spelt("xyz", tokenizer) == []
