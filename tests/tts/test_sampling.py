"""Sampling beside a plain loop that follows the definition."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.tts.sampling import Sampler, SamplingConfig, seeded, uniform


def nucleus(p: list[float], top_p: float, top_k: int | None) -> list[int]:
    """Ids by falling probability while what came before them sums to less than top_p."""
    kept, total = [], 0.0
    for id in sorted(range(len(p)), key=lambda i: -p[i]):
        if total >= top_p or len(kept) == (top_k or len(p)):
            break
        kept.append(id)
        total += p[id]
    return kept


def inverse(weights: list[float], u: float) -> int:
    total, reached = math.fsum(weights), 0.0
    for i, weight in enumerate(weights):
        reached += weight
        if reached / total > u:
            return i
    return len(weights) - 1


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    top_p=st.floats(0.05, 1.0),
    top_k=st.sampled_from([None, 1, 3, 100]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    history=st.lists(st.integers(0, 7), max_size=12),
)
def test_it_follows_the_definition(
    seed: int, top_p: float, top_k: int | None, temperature: float, history: list[int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(8, generator=generator) * 2
    draws = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    config = SamplingConfig(temperature, top_p, top_k, window=4, repeats=2)
    got = Sampler(config, iter(draws))(scores, history)

    p = (scores / temperature).softmax(0).tolist()
    kept = nucleus(p, top_p, top_k)
    expected = kept[inverse([p[id] for id in kept], draws[0])]
    if history[-4:].count(expected) >= 2:
        expected = inverse([0.0 if id == expected else p[id] for id in range(8)], draws[1])
    assert got == expected


def test_temperature_zero_takes_the_best_and_no_draw() -> None:
    scores = torch.tensor([0.0, 3.0, -torch.inf, 2.0])
    assert Sampler(SamplingConfig(temperature=0.0), iter(()))(scores, [1] * 20) == 1


def test_masked_ids_never_come() -> None:
    scores = torch.tensor([-torch.inf, 0.0, -torch.inf, 0.0])
    sampler = Sampler(SamplingConfig(top_p=1.0, top_k=None), uniform(torch.Generator().manual_seed(0)))
    history: list[int] = []
    for _ in range(50):
        history.append(sampler(scores, history))
    assert set(history) == {1, 3}
    assert history[1:] != history[:-1]


def test_the_only_id_may_repeat() -> None:
    scores = torch.full((5,), -torch.inf)
    scores[2] = 1.0
    assert Sampler()(scores, [2] * 10) == 2


@pytest.mark.parametrize("scores", [[-math.inf] * 3, [0.0, math.nan], [0.0, math.inf]])
def test_scores_that_no_id_can_come_from(scores: list[float]) -> None:
    for temperature in (0.0, 1.0):
        with pytest.raises(SpeechError, match="finite score"):
            Sampler(SamplingConfig(temperature))(torch.tensor(scores))


def test_a_tiny_temperature_is_the_best() -> None:
    assert Sampler(SamplingConfig(1e-30))(torch.tensor([80.0, 90.0, -90.0])) == 1


def test_draws_repeat_with_their_seed_and_differ_without() -> None:
    def some(draws: Iterator[float]) -> list[float]:
        return [next(draws) for _ in range(4)]

    assert some(uniform(seeded(1))) == some(uniform(seeded(1))) != some(uniform(seeded(2)))
    assert some(uniform()) != some(uniform())
    assert all(0 <= draw < 1 for draw in some(uniform()))


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_k": 0}, {"window": -1}, {"repeats": 0}])
def test_settings_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(SpeechError, match="correct them"):
        SamplingConfig(**wrong)


@pytest.mark.parametrize("wrong", ["1", 1.0, 1 << 64, -(1 << 64)])
def test_seeds_are_integers(wrong: Any) -> None:
    with pytest.raises(SpeechError, match="expected an integer of 64 bits as seed"):
        seeded(wrong)


def test_an_id_apart_keeps_its_own_probability() -> None:
    """A tenth of all for id 0, which a nucleus of half of the rest would double."""
    scores = torch.log(torch.tensor([0.1, *[0.9 / 60] * 60]))
    sampler = Sampler(SamplingConfig(top_p=0.5, top_k=None, window=0), uniform(torch.Generator().manual_seed(0)))
    drawn = [sampler(scores, apart=0) for _ in range(2000)]
    assert 0.08 < drawn.count(0) / len(drawn) < 0.12
    assert [sampler(scores) for _ in range(2000)].count(0) > 300
    assert Sampler(SamplingConfig(temperature=0))(scores, apart=0) != 0
    only = torch.tensor([0.0, -torch.inf])
    assert sampler(only, apart=0) == 0 and sampler(only.flip(0), apart=0) == 1
