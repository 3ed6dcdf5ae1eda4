"""Times of words from cross attention: the path against the plain recursion, and a planted path through noise."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.asr.whisper.alignment import alignment, median, path
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.tokenizer import Symbols
from speech.streaming.frames import Frames
from tests.asr.whisper.test_search import CONFIG, OPENING, random_frames


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(CONFIG).eval().requires_grad_(False)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 7), m=st.integers(1, 9))
def test_the_path_is_the_cheapest(seed: int, n: int, m: int) -> None:
    cost = np.random.default_rng(seed).normal(size=(n, m))
    least = np.full((n + 1, m + 1), np.inf)
    least[0, 0] = 0.0
    for i in range(n):
        for j in range(m):
            least[i + 1, j + 1] = cost[i, j] + min(least[i, j], least[i, j + 1], least[i + 1, j])
    rows, columns = path(cost)
    assert cost[rows, columns].sum() == pytest.approx(least[n, m])
    steps = set(zip(np.diff(rows).tolist(), np.diff(columns).tolist(), strict=True))
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert (rows[0], columns[0], rows[-1], columns[-1]) == (0, 0, n - 1, m - 1)


def test_the_median() -> None:
    x = torch.randn(2, 10, generator=torch.Generator().manual_seed(1))
    mirrored = np.pad(x.numpy(), ((0, 0), (3, 3)), mode="reflect")
    expected = [np.median(mirrored[:, i : i + 7], axis=1) for i in range(10)]
    np.testing.assert_allclose(median(x).numpy(), np.stack(expected, 1))
    assert torch.equal(median(x[:, :3]), x[:, :3])


class Planted(Decoder):
    """Its last layer attends to where each word is said, one head in noise; the first layer anywhere."""

    ends = (4, 9, 17, 30)

    def attention(self, ids: torch.Tensor, heard: Frames) -> torch.Tensor:
        generator = torch.Generator().manual_seed(2)
        weights = torch.rand(2, 2, len(ids), heard.data.shape[1], generator=generator)
        edges = (0, *self.ends, 34)
        for row, (begin, end) in enumerate(pairwise(edges), len(OPENING) - 1):
            weights[1, :, row, begin:end] += 2.0
        weights[:, :, :, 34:] += 50.0  # silence behind the text, where sinks of attention lie
        return weights / weights.sum(-1, keepdim=True)


def test_a_planted_path_is_found() -> None:
    """By the upper half of the layers, or one head by name; what fills the window up counts for nothing."""
    heard, ids = Frames.whole(torch.zeros(1, 40, CONFIG.dim)), [1000, 1001, 1002, 1003]
    assert alignment(Planted(CONFIG), OPENING, ids, heard, 34) == [4, 9, 17, 30]
    by_name = Planted(replace(CONFIG, alignment_heads=((1, 0),)))
    assert alignment(by_name, OPENING, ids, heard, 34) == pytest.approx([4, 9, 17, 30], abs=1)
    astray = Planted(replace(CONFIG, alignment_heads=((0, 1),)))
    assert alignment(astray, OPENING, ids, heard, 34) != pytest.approx([4, 9, 17, 30], abs=1)


def test_ends_never_fall(decoder: Decoder) -> None:
    heard = Frames.whole(random_frames(1, 1, 30).float(), torch.tensor([26]))
    ends = alignment(decoder, OPENING, [1000, 1001, 1002, 1003, 1004], heard)
    assert ends == sorted(ends) and len(ends) == 5 and 0 <= ends[0] <= ends[-1] < 26
    assert alignment(decoder, OPENING, [], heard) == []
    assert alignment(decoder, OPENING, [1000], Frames.whole(torch.zeros(1, 0, CONFIG.dim))) == [0]


def test_attention_is_what_the_decoder_uses(decoder: Decoder) -> None:
    """Weights sum to one over what was heard, and moving what is hardly attended to changes hardly anything."""
    ids = torch.tensor([*OPENING, 1000, Symbols(51865).end])
    heard = Frames.whole(random_frames(3, 1, 30).float(), torch.tensor([21]))
    weights = decoder.attention(ids, heard)
    assert weights.shape == (2, 2, 6, 30)
    assert weights[..., 21:].max() == 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 6))
