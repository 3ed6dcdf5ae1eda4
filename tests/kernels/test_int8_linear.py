from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.kernels.int8_linear import ROWS, int8_linear, int8_linear_reference, quantize
from tests.kernels.tolerances import TOLERANCES


@settings(max_examples=20, deadline=None)
@given(m=st.integers(1, 9), n=st.integers(1, 40), size=st.sampled_from([1e-20, 1.0, 1e20]), seed=st.integers(0, 99))
def test_no_weight_is_off_by_more_than_half_a_step(m: int, n: int, size: float, seed: int) -> None:
    weight = torch.randn(m, n, generator=torch.Generator().manual_seed(seed)) * size
    weight[0] = 0
    kept = quantize(weight)
    assert kept.values.dtype == torch.int8 and kept.values.abs().max() <= 127
    off = (kept.dequantized(torch.float64) - weight.double()).abs()
    assert (off <= kept.scale[:, None].double() * 0.5001).all()
    assert not kept.dequantized(torch.float32)[0].any()


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("rows", "m", "n"), [(1, 1, 1), (3, 17, 130), (17, 70, 129), (64, 33, 64)])
@pytest.mark.usefixtures("poisoned")
def test_kernel_and_reference_equal_float64(
    device: torch.device, dtype: torch.dtype, rows: int, m: int, n: int
) -> None:
    rng = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, n, generator=rng).to(device, dtype)
    weight = quantize((torch.randn(m, n, generator=rng) / n**0.5).to(device))
    bias = torch.randn(m, generator=rng).to(device, dtype) if rows % 2 else None
    exact = x.double() @ weight.dequantized(torch.float64).T + (0 if bias is None else bias.double())
    rtol, atol = TOLERANCES[dtype]
    for f in (int8_linear, int8_linear_reference):
        y = f(x, weight, bias)
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), exact, rtol=rtol, atol=atol)


def test_leading_axes_are_kept_and_many_rows_are_served(device: torch.device) -> None:
    weight = quantize(torch.randn(5, 8, device=device))
    x = torch.randn(2, ROWS, 8, device=device)
    y = int8_linear(x, weight)
    assert y.shape == (2, ROWS, 5)
    torch.testing.assert_close(int8_linear(x[:, ::32], weight), y[:, ::32], rtol=1e-5, atol=1e-5)
    assert int8_linear(x[:0], weight).shape == (0, ROWS, 5)


def test_activations_may_want_a_gradient(device: torch.device) -> None:
    weight = quantize(torch.randn(5, 8, device=device))
    x = torch.randn(3, 8, device=device, requires_grad=True)
    int8_linear(x, weight).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0], weight.dequantized(torch.float32).sum(0))


def test_what_it_costs_in_accuracy(device: torch.device) -> None:
    weight, x = torch.randn(64, 256, device=device), torch.randn(16, 256, device=device)
    exact = x @ weight.T
    error = int8_linear(x, quantize(weight)) - exact
    assert error.square().mean().sqrt() / exact.square().mean().sqrt() < 0.01


def test_sizes_that_do_not_fit_are_named() -> None:
    weight = quantize(torch.randn(5, 8))
    with pytest.raises(ValueError, match=r"expected inputs \[\.\.\., 8\].*got \[3, 7\] and no bias"):
        int8_linear(torch.randn(3, 7), weight)
    with pytest.raises(ValueError, match=r"a bias \[8\]"):
        int8_linear(torch.randn(3, 8), weight, torch.randn(8))
