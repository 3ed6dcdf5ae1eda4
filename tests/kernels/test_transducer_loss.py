from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from speech.kernels.transducer_loss import joint_transducer_loss, transducer_loss, transducer_loss_reference
from tests.kernels.tolerances import TOLERANCES


def golden(folder: Path, case: str, fastemit: float, device: torch.device) -> None:
    """Loss and gradient are those of the fixture."""
    io = np.load(folder / "fixtures/losses/io.npz")

    def array(name: str) -> Tensor:
        return torch.from_numpy(io[f"rnnt_{case}_{name}"]).to(device)

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


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("fastemit", [0.0, 0.005])
def test_golden_values(shared: Path, case: str, fastemit: float) -> None:
    golden(shared, case, fastemit, torch.device("cpu"))


@pytest.mark.parametrize(("case", "fastemit"), [("a", 0.0), ("b", 0.005)])
@pytest.mark.usefixtures("poisoned")
def test_kernels_give_the_golden_values(shared: Path, device: torch.device, case: str, fastemit: float) -> None:
    golden(shared, case, fastemit, device)


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


def problem(b: int, t: int, u: int, v: int, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """Targets and lengths of items, of which the first is as long as can be and the last as short."""
    rng = torch.Generator().manual_seed(b + t)
    frames, labels = torch.randint(1, t + 1, (b,), generator=rng), torch.randint(0, u + 1, (b,), generator=rng)
    frames[-1], labels[-1] = 1, 0
    frames[0], labels[0] = t, u
    given = torch.randint(0, v - 1, (b, u), generator=rng), frames, labels
    return tuple(x.to(device) for x in given)


@pytest.mark.parametrize("dtype", [*TOLERANCES, torch.float64])
@pytest.mark.parametrize(("b", "t", "u", "v"), [(1, 1, 0, 2), (3, 7, 3, 70), (2, 3, 17, 131)])
@pytest.mark.usefixtures("poisoned")
def test_kernels_equal_float64(device: torch.device, dtype: torch.dtype, b: int, t: int, u: int, v: int) -> None:
    scores = (torch.randn(b, t, u + 1, v, generator=torch.Generator().manual_seed(v)) * 3).to(device, dtype)
    given = problem(b, t, u, v, device)
    weight = torch.linspace(1, 2, b, dtype=torch.float64, device=device)
    results = []
    for f in (transducer_loss, transducer_loss_reference):
        x = scores.clone().requires_grad_()
        loss = f(x, *given, v - 1)
        (loss * weight).sum().backward()
        assert x.grad is not None and x.grad.dtype == dtype
        results.append((loss.detach().double(), x.grad.double()))
    rtol, atol = TOLERANCES.get(dtype, (1e-9, 1e-9))
    torch.testing.assert_close(results[0], results[1], rtol=rtol, atol=atol)


def joint_network(b: int, t: int, u: int, v: int, j: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    rng = torch.Generator().manual_seed(7)
    shapes = (b, t, j), (b, u + 1, j), (v, j), (v,)
    return [torch.randn(shape, generator=rng, dtype=torch.float64).to(device, dtype) for shape in shapes]


def joint_and_plain(own: list[Tensor], given: tuple[Tensor, ...], blank: int, cells: int) -> list[list[Tensor]]:
    """Loss and the gradients of acoustic, predicted, weight and bias; then the same of whole scores in float64."""
    out = []
    for fused in (True, False):
        leaves = [x.detach().to(x.dtype if fused else torch.float64).requires_grad_() for x in own]
        if fused:
            loss = joint_transducer_loss(*leaves, *given, blank, 0.01, cells=cells)
        else:
            acoustic, predicted, weight, bias = leaves
            scores = torch.relu(acoustic[:, :, None] + predicted[:, None]) @ weight.T + bias
            loss = transducer_loss(scores, *given, blank, 0.01)
        (loss * torch.linspace(1, 2, len(loss), device=loss.device)).sum().backward()
        out.append([loss.detach().double(), *(x.grad.double() for x in leaves if x.grad is not None)])
    return out


@pytest.mark.parametrize("cells", [1, 11, 40, 10**6])
def test_scores_in_blocks_are_as_good_as_whole_ones(cells: int) -> None:
    own = joint_network(3, 5, 3, 7, 6, torch.float64, torch.device("cpu"))
    ours, theirs = joint_and_plain(own, problem(3, 5, 3, 7), 6, cells)
    assert len(ours) == 5
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.usefixtures("poisoned")
def test_kernels_on_blocks_equal_float64(device: torch.device, dtype: torch.dtype) -> None:
    own = [x * 0.3 for x in joint_network(2, 3, 3, 17, 6, dtype, device)]
    ours, theirs = joint_and_plain(own, problem(2, 3, 3, 17, device), 0, 8)
    rtol, atol = TOLERANCES[dtype]
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=rtol, atol=atol * max(1.0, float(y.abs().max())))


class Largest(TorchDispatchMode):
    """The size of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(x.numel() for x in tree_iter(out) if isinstance(x, Tensor))])
        return out


def test_scores_of_all_pairs_never_exist() -> None:
    b, t, u, v = 2, 20, 9, 40
    with Largest() as most:
        joint_and_plain(joint_network(b, t, u, v, 4, torch.float32, torch.device("cpu")), problem(b, t, u, v), 39, 50)
    assert most.elements == b * t * (u + 1) * v  # of the plain path
    leaves = [x.requires_grad_() for x in joint_network(b, t, u, v, 4, torch.float32, torch.device("cpu"))]
    with Largest() as most:
        joint_transducer_loss(*leaves, *problem(b, t, u, v), 39, cells=50).sum().backward()
    assert most.elements == 50 * v


def test_a_joint_network_whose_shapes_do_not_fit_is_named() -> None:
    own = joint_network(2, 5, 3, 7, 6, torch.float32, torch.device("cpu"))
    lengths = torch.ones(2, dtype=torch.long)
    with pytest.raises(
        ValueError, match=r"expected targets \[2, 3\] .* for \[2, 5, 6\] frames and \[2, 4, 6\] predictions"
    ):
        joint_transducer_loss(*own, torch.zeros(2, 4, dtype=torch.long), lengths, lengths, 6)


@pytest.mark.parametrize("cells", [7, 10**6])
def test_dropped_units_are_the_same_in_the_gradient(cells: int) -> None:
    own = joint_network(3, 5, 3, 7, 6, torch.float64, torch.device("cpu"))
    leaves = [x.clone().requires_grad_() for x in own]
    ways = [torch.randn_like(x) * 1e-5 for x in own]

    def loss(parts: list[Tensor], dropout: float = 0.4) -> Tensor:
        torch.manual_seed(1)
        return joint_transducer_loss(*parts, *problem(3, 5, 3, 7), 6, dropout=dropout, cells=cells).sum()

    loss(leaves).backward()
    along = sum(float((x.grad * way).sum()) for x, way in zip(leaves, ways, strict=True) if x.grad is not None)
    there, back = (loss([x + sign * way for x, way in zip(own, ways, strict=True)]) for sign in (0.5, -0.5))
    assert float(there - back) == pytest.approx(along, rel=1e-4)
    assert abs(float(loss(own) - loss(own, 0.0))) > 0.1
