"""Linear layers of 8 bits against float64, and models whose layers are replaced by them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from speech.kernels.eight_bits import DTYPES, dequantised, quantised
from speech.kernels.linear import Linear, pack
from speech.kernels.quantised_linear import (
    ROWS,
    QuantisedLinear,
    Weight,
    quantise,
    quantised_linear,
    quantised_linear_reference,
)
from tests.kernels.tolerances import TOLERANCES


def weight_of(m: int, n: int, device: torch.device, kind: str = "int8") -> Weight:
    rng = torch.Generator().manual_seed(m)
    return Weight(*quantised((torch.randn(m, n, generator=rng) / n**0.5).to(device), DTYPES[kind]))


def meant(weight: Weight) -> torch.Tensor:
    return dequantised(*weight, torch.float64)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("rows", "m", "n"), [(1, 1, 1), (3, 17, 130), (17, 70, 129), (64, 33, 64)])
@pytest.mark.usefixtures("poisoned")
def test_kernel_and_reference_equal_float64(
    device: torch.device, dtype: torch.dtype, rows: int, m: int, n: int, kind: str
) -> None:
    rng = torch.Generator().manual_seed(rows)
    x, weight = torch.randn(rows, n, generator=rng).to(device, dtype), weight_of(m, n, device, kind)
    bias = torch.randn(m, generator=rng).to(device, dtype) if rows % 2 else None
    exact = x.double() @ meant(weight).T + (0 if bias is None else bias.double())
    rtol, atol = TOLERANCES[dtype]
    for f in (quantised_linear, quantised_linear_reference):
        y = f(x, weight, bias)
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), exact, rtol=rtol, atol=atol)


@pytest.mark.parametrize("rows", [1, 5, 70])
@pytest.mark.parametrize("bias", [torch.randn(33), None])
@torch.inference_mode()
def test_a_cpu_multiplies_in_bfloat16_and_rows_alone_as_together(rows: int, bias: torch.Tensor | None) -> None:
    x, weight = torch.randn(2, rows, 48), weight_of(33, 48, torch.device("cpu"))
    y = quantised_linear(x, weight, bias)
    exact = x.double() @ meant(weight).T + (0 if bias is None else bias)
    rtol, atol = TOLERANCES[torch.bfloat16]
    torch.testing.assert_close(y.double(), exact, rtol=rtol, atol=atol)
    assert torch.equal(torch.stack([quantised_linear(x[:, i], weight, bias) for i in range(rows)], 1), y)


def test_leading_axes_are_kept_and_many_rows_are_served(device: torch.device) -> None:
    weight = weight_of(5, 8, device)
    x = torch.randn(2, ROWS, 8, device=device)
    y = quantised_linear(x, weight)
    assert y.shape == (2, ROWS, 5)
    torch.testing.assert_close(quantised_linear(x[:, ::32], weight), y[:, ::32], rtol=1e-5, atol=1e-5)
    assert quantised_linear(x[:0], weight).shape == (0, ROWS, 5)


def test_activations_may_want_a_gradient() -> None:
    weight = weight_of(5, 16, torch.device("cpu"))
    x = torch.randn(3, 16, requires_grad=True)
    quantised_linear(x, weight).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0].double(), meant(weight).sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "limit"), [("int8", 0.01), ("fp8", 0.04)])
def test_what_it_costs_in_accuracy(kind: str, limit: float, device: torch.device) -> None:
    matrix, x = torch.randn(64, 256, device=device), torch.randn(16, 256, device=device)
    exact = x @ matrix.T
    error = quantised_linear(x, Weight(*quantised(matrix, DTYPES[kind]))) - exact
    assert error.square().mean().sqrt() / exact.square().mean().sqrt() < limit


def test_sizes_that_do_not_fit_are_named() -> None:
    weight = weight_of(5, 8, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"expected inputs \[\.\.\., 8\].*got \[3, 7\] and no bias"):
        quantised_linear(torch.randn(3, 7), weight)
    with pytest.raises(ValueError, match=r"a bias \[8\]"):
        quantised_linear(torch.randn(3, 8), weight, torch.randn(8))


@torch.inference_mode()
def test_a_model_is_quantised_whether_it_is_packed_or_not() -> None:
    plain = nn.Sequential(Linear(32, 64), nn.ReLU(), Linear(64, 16, bias=False), nn.Linear(16, 3))
    packed = copy.deepcopy(plain)
    pack(packed)
    x, exact = torch.randn(4, 32), plain(torch.zeros(1, 32))
    for model in (plain, packed):
        quantise(model, torch.int8)
        pack(model)
    assert [type(layer) for layer in plain] == [QuantisedLinear, nn.ReLU, QuantisedLinear, nn.Linear]
    assert torch.equal(plain(x), packed(x))
    torch.testing.assert_close(plain(torch.zeros(1, 32)), exact, rtol=0, atol=0.02)
    assert torch.equal(copy.deepcopy(plain)(x), plain(x))


@pytest.mark.parametrize("kind", DTYPES)
def test_another_precision_of_the_model_leaves_the_bytes_alone(kind: str) -> None:
    layer = QuantisedLinear(Linear(8, 4), DTYPES[kind])
    before = layer.codes.clone()
    assert torch.equal(layer.to(torch.bfloat16).codes, before)
    assert layer(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
