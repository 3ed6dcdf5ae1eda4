from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut, Recording, SupervisionSegment

from recipes.asr_small.batch_size import search
from recipes.asr_small.batches import BatchConfig, Batches, batch_sizes, estimate_bins, token_count, usable


def cut(name: str, seconds: float, tokens: int) -> MonoCut:
    recording = Recording(name, [], 16000, round(seconds * 16000), seconds)
    spoken = SupervisionSegment(name, name, 0.0, seconds, custom={"tokens": [i % 7 for i in range(tokens)]})
    return MonoCut(name, 0.0, seconds, 0, supervisions=[spoken], recording=recording)


def corpus(prefix: str, count: int, seed: int) -> list[MonoCut]:
    rng = np.random.default_rng(seed)
    seconds = rng.uniform(1, 15, count)
    return [cut(f"{prefix}{i}", float(s), int(s * rng.uniform(2, 8)) + 1) for i, s in enumerate(seconds)]


def sampler(**options: Any) -> Batches:
    sets = [corpus("real", 200, 0), corpus("made", 200, 1)]
    cuts = sets[0] + sets[1]
    bins = estimate_bins([c.duration for c in cuts], [token_count(c) for c in cuts], 4, 2)
    sizes = batch_sizes(bins, BatchConfig(seconds=60))
    return Batches(sets, [0.8, 0.2], bins, sizes, buffer=150, seed=3, **options)


def names(batches: Batches, count: int) -> list[tuple[int, list[str]]]:
    return [(index, list(cuts.ids)) for index, cuts in islice(batches, count)]


def test_a_position_is_all_it_takes_to_go_on() -> None:
    whole = names(sampler(), 30)
    assert whole == names(sampler(), 30)
    assert names(sampler(skip=12), 18) == whole[12:]


def test_ranks_share_the_buckets_but_not_the_utterances() -> None:
    ranks = [[cuts for _, cuts in islice(sampler(rank=rank, world=2), 20)] for rank in range(2)]
    for first, second in zip(*ranks, strict=True):
        assert not {c.id for c in first} & {c.id for c in second}
        longest = [max(c.duration for c in batch) for batch in (first, second)]
        assert max(longest) < 2.5 * min(longest) + 1


def test_batches_keep_their_limits_and_the_mix_its_weights() -> None:
    made = total = 0
    for _, cuts in islice(sampler(), 150):
        batch = list(cuts)
        assert len(batch) * max(c.duration for c in batch) <= 60
        made, total = made + sum(c.id.startswith("made") for c in batch), total + len(batch)
    assert made / total == pytest.approx(0.2, abs=0.06)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 20), st.integers(1, 200)), min_size=1, max_size=60), st.integers(1, 6))
def test_every_utterance_has_a_bin(items: list[tuple[float, int]], buckets: int) -> None:
    bins = estimate_bins([d for d, _ in items], [n for _, n in items], buckets, 2)
    assert bins == sorted(set(bins))
    assert len(bins) <= 2 * buckets
    assert all(any(d <= seconds and n <= tokens for seconds, tokens in bins) for d, n in items)


def test_buckets_hold_equal_total_duration() -> None:
    durations = np.random.default_rng(0).uniform(1, 20, 5000)
    edges = [0.0, *sorted({seconds for seconds, _ in estimate_bins(durations.tolist(), [10] * 5000, 5, 1)})]
    totals = [durations[(durations > a) & (durations <= b)].sum() for a, b in pairwise(edges)]
    assert len(totals) == 5
    assert max(totals) < 1.02 * min(totals)


def test_what_cannot_be_learnt_is_left_out() -> None:
    config = BatchConfig(min_seconds=0.5, max_seconds=10)
    assert usable(cut("fine", 2.0, 10), config)
    assert not usable(cut("silent", 2.0, 0), config)
    assert not usable(cut("long", 10.5, 10), config)
    assert not usable(cut("hasty", 1.0, 12), config)  # 12.5 frames, and fewer when it is spoken faster


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 33, 100])
def test_search_finds_the_largest_size_to_within_five_percent(limit: int) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= limit

    found = search(fits, 8, 64)
    assert max(1, min(limit, 64) / 1.06 - 1) <= found <= max(1, min(limit, 64))
    assert len(tried) < 12
