from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.kernels.transducer_loss import transducer_loss, transducer_loss_reference


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("fastemit", [0.0, 0.005])
def test_golden_values(shared: Path, case: str, fastemit: float) -> None:
    io = np.load(shared / "fixtures/losses/io.npz")

    def array(name: str) -> torch.Tensor:
        return torch.from_numpy(io[f"rnnt_{case}_{name}"])

    scores = array("logits").requires_grad_()
    lengths = array("logit_lengths"), array("target_lengths")
    loss = transducer_loss(scores, array("targets"), *lengths, int(array("blank")), fastemit)
    loss.sum().backward()
    grad = scores.grad
    assert grad is not None
    if fastemit:
        torch.testing.assert_close(loss, array(f"loss_fastemit{fastemit}"), rtol=1e-4, atol=0)
        torch.testing.assert_close(grad, array(f"grad_fastemit{fastemit}"), rtol=0, atol=1e-4)
    else:
        torch.testing.assert_close(loss.double(), array("loss"), rtol=1e-5, atol=0)
        torch.testing.assert_close(grad.double(), array("grad"), rtol=0, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 3), t=st.integers(1, 6), u=st.integers(0, 5), v=st.integers(2, 6), seed=st.integers(0, 999))
def test_equals_the_reference_at_odd_sizes(b: int, t: int, u: int, v: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randn(b, t, u + 1, v, generator=rng, dtype=torch.float64) * 3
    blank = int(torch.randint(0, v, (), generator=rng))
    targets = torch.randint(0, v - 1, (b, u), generator=rng)
    targets += (targets >= blank).long()
    frames = torch.randint(1, t + 1, (b,), generator=rng)
    labels = torch.randint(0, u + 1, (b,), generator=rng)
    weight = torch.rand(b, generator=rng, dtype=torch.float64)
    results = []
    for f in (transducer_loss, transducer_loss_reference):
        x = scores.clone().requires_grad_()
        loss = f(x, targets, frames, labels, blank)
        (loss * weight).sum().backward()
        results.append((loss.detach(), x.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-11)


def test_what_lies_outside_the_lattice_has_no_say_and_no_gradient() -> None:
    scores = torch.randn(2, 5, 4, 6)
    frames, labels = torch.tensor([5, 3]), torch.tensor([3, 1])
    targets = torch.tensor([[0, 1, 1], [2, 0, 0]])
    spoiled = scores.clone()
    spoiled[1, 3:] = 1e4
    spoiled[1, :, 2:] = -1e4
    spoiled.requires_grad_()
    loss = transducer_loss(spoiled, targets, frames, labels, 5)
    torch.testing.assert_close(loss, transducer_loss(scores, targets, frames, labels, 5))
    loss.sum().backward()
    assert spoiled.grad is not None and spoiled.grad.isfinite().all()
    assert not spoiled.grad[1, 3:].any() and not spoiled.grad[1, :, 2:].any()


def test_sixteen_bit_scores_are_summed_in_float32() -> None:
    scores = torch.randn(2, 30, 9, 17).bfloat16().requires_grad_()
    frames, labels, targets = torch.tensor([30, 21]), torch.tensor([8, 5]), torch.randint(0, 16, (2, 8))
    loss = transducer_loss(scores, targets, frames, labels, 16)
    exact = transducer_loss_reference(scores.detach(), targets, frames, labels, 16)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)
    loss.sum().backward()
    assert scores.grad is not None and scores.grad.dtype == torch.bfloat16


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"expected targets \[2, 3\]"):
        transducer_loss(torch.randn(2, 5, 4, 6), torch.zeros(2, 4, dtype=torch.long), torch.ones(2), torch.ones(2), 5)
