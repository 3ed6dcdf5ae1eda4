"""Which utterances form a batch: 2-D buckets of duration and token count, and a sampler with a position.

Buckets as in Zelasko et al. 2025 (arXiv 2503.05931): equal total duration in every duration bucket, equal total tokens
in each of its parts, so that little is padded and the transducer's t x u scores have a known size.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset.sampling import DynamicBucketingSampler
from lhotse.dataset.sampling.dynamic_bucketing import FixedBucketBatchSizeConstraint
from torch.utils.data import Sampler

Bin = tuple[float, int]
"""(seconds, tokens) at most."""

FRAMES_PER_SECOND = 12.5


@dataclass(frozen=True)
class BatchConfig:
    """Limits of a batch and shape of the buckets.

    seconds: audio in a batch at the most. cells: encoder frames x tokens over a batch at the most, which is what the
    transducer's memory goes with. buckets, parts: duration buckets, and parts of each by tokens. buffer: cuts to draw
    from. min_seconds, max_seconds: other utterances are left out.
    """

    seconds: float = 200.0
    cells: int = 400_000
    buckets: int = 10
    parts: int = 2
    max_seconds: float = 20.0
    min_seconds: float = 0.4
    buffer: int = 6000


def token_count(cut: Cut) -> int:
    return len(cut.supervisions[0].custom["tokens"])  # type: ignore[index]


def usable(cut: Cut, config: BatchConfig) -> bool:
    """Whether a cut has text, a legal duration, and frames enough for its tokens even when it is spoken 10 % faster."""
    tokens = cut.supervisions[0].custom["tokens"]  # type: ignore[index]
    needed = len(tokens) + sum(a == b for a, b in pairwise(tokens))
    fits = config.min_seconds <= cut.duration <= config.max_seconds
    return bool(tokens) and fits and needed < cut.duration / 1.1 * FRAMES_PER_SECOND


def estimate_bins(durations: Sequence[float], tokens: Sequence[int], buckets: int, parts: int) -> list[Bin]:
    """Bins that hold equal total duration, and within a duration bucket equal total tokens; sorted.

    Within a bucket, utterances whose tokens per second lie more than 4 standard deviations above the mean do not widen
    the last part; they fall into a later bin. The very last bin takes everything.
    """
    order = np.argsort(durations, kind="stable")
    seconds, counts = np.asarray(durations)[order], np.asarray(tokens)[order]
    bins: list[Bin] = []
    for group in _equal_shares(seconds, buckets):
        rate = counts[group] / seconds[group]
        kept = group[rate <= rate.mean() + 4 * rate.std()]
        by_tokens = kept[np.argsort(counts[kept], kind="stable")]
        for part in _equal_shares(counts[by_tokens], parts):
            bins.append((float(seconds[group[-1]]), int(counts[by_tokens[part[-1]]])))
    bins[-1] = (float(seconds[-1]), int(counts.max()))
    return sorted(set(bins))


def _equal_shares(weights: np.ndarray, count: int) -> list[np.ndarray]:
    """Indices of consecutive groups with about equal total weight; empty groups are dropped."""
    share = np.cumsum(weights) - weights / 2
    owner = np.minimum((share / max(weights.sum(), 1e-9) * count).astype(int), count - 1)
    return [np.flatnonzero(owner == i) for i in range(count) if (owner == i).any()]


def batch_sizes(bins: Sequence[Bin], config: BatchConfig, measured: Sequence[int] | None = None) -> list[int]:
    """Utterances a batch in every bin: limited by seconds, and by what a batch-size search measured, else by cells."""
    if measured is None:
        measured = [int(config.cells / (seconds * FRAMES_PER_SECOND * (tokens + 1))) for seconds, tokens in bins]
    return [max(1, min(size, int(config.seconds / seconds))) for size, (seconds, _) in zip(measured, bins, strict=True)]


@dataclass
class TwoDimensional(FixedBucketBatchSizeConstraint):
    """lhotse's fixed batch sizes for bins of (seconds, tokens): a cut goes to the first bin that holds both."""

    def measure_length(self, example: Cut) -> Bin:  # type: ignore[override]
        return example.duration, token_count(example)

    def select_bucket(self, buckets: Sequence[Bin], example: Cut | None = None, example_len: Bin | None = None) -> int:
        seconds, tokens = example_len or self.measure_length(example)  # type: ignore[arg-type]
        first = bisect_left(buckets, (seconds, 0))
        return next((i for i in range(first, len(buckets)) if tokens <= buckets[i][1]), len(buckets))


class Batches(Sampler):
    """Endless batches of a mix of sets of cuts, `(index, cuts)`, the same at every run; `skip` of them are passed over.

    Each rank of `world` sees its own batches of the same bucket. An index is a position: training that stopped after
    n batches goes on with `skip=n`.
    """

    def __init__(
        self,
        sets: Sequence[Sequence[Cut]],
        weights: Sequence[float],
        bins: Sequence[Bin],
        sizes: Sequence[int],
        *,
        buffer: int,
        seed: int,
        skip: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        endless = [CutSet.from_cuts(cuts).repeat(preserve_id=True) for cuts in sets]
        mixed = CutSet.mux(*endless, weights=list(weights), seed=seed) if len(endless) > 1 else endless[0]
        self.skip = skip
        self.sampler = DynamicBucketingSampler(
            mixed,
            constraint=TwoDimensional(list(bins), list(sizes)),  # type: ignore[arg-type]
            duration_bins=list(bins),  # type: ignore[arg-type]
            buffer_size=buffer,
            shuffle=True,
            seed=seed,
            rank=rank,
            world_size=world,
        )

    def __iter__(self) -> Iterator[tuple[int, CutSet]]:
        for index, cuts in enumerate(self.sampler):
            if index >= self.skip:
                yield index, cuts


def save_profile(path: Path, bins: Sequence[Bin], sizes: Sequence[int]) -> None:
    path.write_text(json.dumps({"bins": list(bins), "sizes": list(sizes)}))


def load_profile(path: Path) -> tuple[list[Bin], list[int]] | None:
    """What the batch-size search wrote: bins and the most utterances that fit each; None if it has not run."""
    if not path.is_file():
        return None
    profile = json.loads(path.read_text())
    return [(float(s), int(t)) for s, t in profile["bins"]], profile["sizes"]
