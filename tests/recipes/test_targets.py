from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.asr_small.targets import IGNORED, frame_targets, token_spans
from speech.asr.tokenizer import WordPiece

BLANK = 9


@pytest.fixture
def tokenizer(tmp_path: Path) -> WordPiece:
    (tmp_path / "vocab.txt").write_text("a\nbcd\n##e\n##fg\n[UNK]\n")
    return WordPiece(tmp_path / "vocab.txt")


def test_tokens_share_their_word_by_letters(tokenizer: WordPiece) -> None:
    tokenizer.pieces = ["▁a", "▁bcd", "e", "fg", "[UNK]"]
    spans = token_spans("a bcde", [(0.5, 1.0), (2.0, 4.0)], tokenizer)
    assert spans == [(0.5, 1.0, 0), (2.0, 3.5, 1), (3.5, 4.0, 2)]


def test_frames_show_the_token_half_a_frame_earlier() -> None:
    targets = frame_targets([(0.10, 0.20, 1), (0.20, 0.30, 2), (0.60, 0.70, 3)], 1.0, 1.0, BLANK)
    at = np.arange(13) * 0.08 - 0.04
    wanted = [1 if 0.1 <= t < 0.2 else 2 if 0.2 <= t < 0.3 else 3 if 0.6 <= t < 0.7 else BLANK for t in at]
    assert targets.tolist() == wanted
    assert (frame_targets(None, 1.0, 1.0, BLANK) == IGNORED).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.8, 1.25), st.lists(st.floats(0.05, 0.6), min_size=1, max_size=12))
def test_targets_stretch_with_the_speech(stretch: float, lengths: list[float]) -> None:
    edges = np.cumsum([0.3, *lengths])
    spans = [(float(a), float(b), i) for i, (a, b) in enumerate(pairwise(edges))]
    seconds = float(edges[-1] + 0.5) * stretch
    targets = frame_targets(spans, seconds, stretch, 99)
    assert len(targets) == int(seconds * 12.5) + 1
    spoken = targets[targets != 99]
    assert (np.diff(spoken) >= 0).all()
    assert len(spoken) * 0.08 == pytest.approx(sum(lengths) * stretch, abs=0.081)
