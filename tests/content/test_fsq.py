"""Finite scalar quantisation by its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.content.fsq import FSQ

LEVELS = st.lists(st.integers(3, 8), min_size=1, max_size=4).map(tuple)


@settings(max_examples=20, deadline=None)
@given(levels=LEVELS, seed=st.integers(0, 9))
def test_codes_stand_for_the_points_that_training_sees(levels: tuple[int, ...], seed: int) -> None:
    fsq, random = FSQ(levels), torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(5, 7, len(levels), generator=random)
    codes = fsq.encode(x)
    assert codes.shape == (5, 7) and codes.dtype == torch.long
    torch.testing.assert_close(fsq.decode(codes), fsq(x))
    assert fsq(x).abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("levels", [(3,), (4,), (8, 5, 3)])
def test_every_code_can_be_reached(levels: tuple[int, ...]) -> None:
    fsq = FSQ(levels)
    axis = torch.linspace(-6, 6, 101)
    x = torch.cartesian_prod(*[axis] * len(levels)).view(-1, len(levels))
    assert fsq.encode(x).unique().tolist() == list(range(fsq.size))
    assert len(fsq.decode(torch.arange(fsq.size)).unique(dim=0)) == fsq.size


def test_three_levels_are_the_published_quantiser_of_speech_tokens() -> None:
    x = 2 * torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    digits = (x.tanh() * 0.9990000128746033).round().long() + 1
    assert torch.equal(FSQ((3,) * 8).encode(x), (digits * 3 ** torch.arange(8)).sum(-1))


def test_zero_stays_in_the_middle() -> None:
    assert torch.equal(FSQ((3, 4, 7, 8))(torch.zeros(4)), torch.zeros(4))


def test_the_gradient_passes_the_rounding_unchanged() -> None:
    fsq = FSQ((5, 4))
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (gradient,) = torch.autograd.grad(fsq(x).sum(), x)
    (wanted,) = torch.autograd.grad((fsq._bound(x) / torch.tensor([2, 2])).sum(), x)
    torch.testing.assert_close(gradient, wanted)
    assert (gradient > 0).all()


def test_half_precision_gives_the_codes_of_its_values() -> None:
    fsq = FSQ((8, 5, 5, 5))
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(fsq.encode(x), fsq.encode(x.float()))


@pytest.mark.parametrize("levels", [(), (2,), (5, 1)])
def test_too_few_levels(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="3 levels or more"):
        FSQ(levels)
