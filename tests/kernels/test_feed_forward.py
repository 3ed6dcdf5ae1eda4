"""Linear layers and what follows them against float64, and the feed-forward layers that call them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from speech.asr.conformer import FeedForward
from speech.flow import layers
from speech.kernels import feed_forward
from speech.kernels.feed_forward import (
    ACTIVATED_ROWS,
    FLOAT32_ROWS,
    SUMMED_ROWS,
    linear_act,
    linear_act_reference,
    linear_add_norm,
    linear_add_norm_reference,
)
from speech.kernels.linear import Linear, pack
from speech.kernels.quantised_linear import quantise
from tests.kernels.tolerances import TOLERANCES

DTYPES = list(TOLERANCES)
ACTIVATIONS = [nn.SiLU(), nn.ReLU(), nn.GELU(), nn.GELU("tanh")]
RELU = nn.ReLU()
SIZES = [(1, 1, 1, 1), (1, 3, 130, 17), (2, 9, 70, 33), (1, 64, 257, 16), (5, 13, 33, 70)]
"""Streams, frames, inputs, outputs; the last has more than one tile of rows, the last but one several parts."""


def assert_close(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert got.dtype == dtype
    rtol, atol = TOLERANCES[dtype]
    torch.testing.assert_close(got.double(), expected, rtol=rtol, atol=atol)


def draw(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.randn(shape).to(device, dtype)


def linear_of(n: int, m: int, dtype: torch.dtype, device: torch.device, *, bias: bool = True) -> Linear:
    """For inference, with outputs of about one."""
    torch.manual_seed(n)
    layer = Linear(n, m, bias=bias).requires_grad_(False)
    nn.init.normal_(layer.weight, std=n**-0.5)
    return layer.to(device, dtype)


def norm_of(d: int, dtype: torch.dtype, device: torch.device) -> nn.LayerNorm:
    """For inference, with weights that show."""
    norm = nn.LayerNorm(d, eps=1e-3).requires_grad_(False)
    for weight in norm.parameters():
        nn.init.normal_(weight)
    return norm.to(device, dtype)


def exactly(module: nn.Module, x: Tensor) -> Tensor:
    return copy.deepcopy(module).double()(x.double())


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what the kernel has put out."""
    shapes: list[tuple[int, ...]] = []
    product: Callable[..., Tensor] = feed_forward._product

    def noted(*arguments: object) -> Tensor:
        y = product(*arguments)
        shapes.append(tuple(y.shape))
        return y

    monkeypatch.setattr(feed_forward, "_product", noted)
    return shapes


@pytest.mark.parametrize("op", [linear_act, linear_act_reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("b", "t", "n", "m"), SIZES)
@pytest.mark.usefixtures("poisoned")
def test_an_activated_layer_equals_float64(
    op: Callable[..., Tensor], dtype: torch.dtype, b: int, t: int, n: int, m: int, device: torch.device
) -> None:
    layer = linear_of(n, m, dtype, device, bias=t != 9)
    x = draw(b, t, n, dtype=dtype, device=device)
    assert_close(op(x, layer, nn.SiLU()), nn.functional.silu(exactly(layer, x)), dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.usefixtures("poisoned")
def test_every_activation_equals_float64(
    activation: nn.Module, device: torch.device, launched: list[tuple[int, ...]]
) -> None:
    layer, x = linear_of(3, 5, torch.float32, device), 4 * draw(7, 3, dtype=torch.float32, device=device)
    x[0] = torch.nan
    y = linear_act(x, layer, activation)
    assert_close(y[1:], activation(exactly(layer, x[1:])), torch.float32)
    assert y[0].isnan().all() and launched == [(7, 5)]


@pytest.mark.parametrize("op", [linear_add_norm, linear_add_norm_reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("b", "t", "n", "m"), SIZES)
@pytest.mark.usefixtures("poisoned")
def test_a_layer_its_residual_sum_and_the_norm_equal_float64(
    op: Callable[..., tuple[Tensor, Tensor]],
    dtype: torch.dtype,
    b: int,
    t: int,
    n: int,
    m: int,
    device: torch.device,
) -> None:
    layer, norm = linear_of(n, m, dtype, device, bias=t != 9), norm_of(m, dtype, device)
    x, residual = draw(b, t, n, dtype=dtype, device=device), draw(b, t, m, dtype=dtype, device=device)
    total, normed = op(x, layer, residual, norm, scale=0.5)
    assert_close(total, residual.double() + 0.5 * exactly(layer, x), dtype)
    assert_close(normed, exactly(norm, total), dtype)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, ACTIVATED_ROWS),
    m=st.integers(1, 8192),
    n=st.integers(1, 8192),
    size=st.sampled_from([2, 4]),
    whole=st.booleans(),
)
def test_tiles_fit_a_card_and_leave_none_without_work(rows: int, m: int, n: int, size: int, whole: bool) -> None:
    tiles = feed_forward._tiles(rows, m, n, size, whole=whole)
    assert all(side >= 16 and side & (side - 1) == 0 for side in (tiles.rows, tiles.outputs, tiles.inner))
    assert 4 * (tiles.rows + tiles.outputs) * tiles.inner * size <= 99 << 10  # bytes of shared memory, in four stages
    assert tiles.depth % tiles.inner == 0 and tiles.depth < n + tiles.inner
    assert not whole or tiles.depth >= n
    programs = -(-rows // tiles.rows) * -(-m // tiles.outputs)
    assert programs * -(-n // tiles.depth) <= max(programs, feed_forward.PROGRAMS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("poisoned")
def test_many_rows_are_left_to_the_library(
    dtype: torch.dtype, device: torch.device, launched: list[tuple[int, ...]]
) -> None:
    layer, norm = linear_of(3, 5, dtype, device), norm_of(5, dtype, device)
    wide = dtype == torch.float32
    for most, sums in (
        (FLOAT32_ROWS if wide else ACTIVATED_ROWS, False),
        (FLOAT32_ROWS if wide else SUMMED_ROWS, True),
    ):
        x = draw(1, most + 1, 3, dtype=dtype, device=device)
        residual = draw(1, most + 1, 5, dtype=dtype, device=device)
        many, fewer = (
            linear_add_norm(x[:, at:], layer, residual[:, at:], norm)[1] if sums else linear_act(x[:, at:], layer, RELU)
            for at in (0, 1)
        )
        rtol, atol = TOLERANCES[dtype]
        torch.testing.assert_close(many[:, 1:], fewer, rtol=rtol, atol=atol)
        assert launched.pop()[-2] == most and not launched


class Doubled(Linear):
    """A linear layer with a mind of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


@torch.inference_mode()
def test_what_the_kernel_does_not_know_goes_through_the_modules(
    device: torch.device, launched: list[tuple[int, ...]]
) -> None:
    torch.manual_seed(0)
    x, residual = torch.randn(2, 3, 32, device=device), torch.randn(2, 3, 16, device=device)
    norm = norm_of(16, torch.float32, device)
    eight, packed = (nn.Sequential(Linear(32, 16)).to(device) for _ in range(2))
    quantise(eight, torch.int8)
    pack(packed)
    kinds = [eight[0], Doubled(32, 16).to(device), *([packed[0]] if device.type == "cpu" else [])]
    for layer in kinds:
        assert torch.equal(linear_act(x, layer, RELU), layer(x).relu())
        for got, expected in zip(
            linear_add_norm(x, layer, residual, norm), linear_add_norm_reference(x, layer, residual, norm), strict=True
        ):
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    plain = Linear(32, 16).to(device)
    assert torch.equal(linear_act(x, plain, nn.Mish()), nn.functional.mish(plain(x)))
    assert linear_act(x[:0], plain, RELU).shape == (0, 3, 16)
    assert linear_act(x.double(), plain.double(), RELU).dtype == torch.float64
    assert not launched


def test_gradients_flow_where_they_are_wanted(device: torch.device, launched: list[tuple[int, ...]]) -> None:
    layer, norm, x = Linear(3, 5).to(device), nn.LayerNorm(5).to(device), torch.randn(1, 2, 3, device=device)
    total, _ = linear_add_norm(x, layer, linear_act(x, layer, nn.SiLU()), norm)
    total.sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().min() > 0 and not launched


def test_sizes_that_do_not_fit_are_named() -> None:
    x, layer, norm = torch.randn(2, 3, 4), Linear(4, 5), nn.LayerNorm(5)
    for shape in ((2, 4, 5), (2, 3, 4)):
        with pytest.raises(ValueError, match=r"residual of the frames \[2, 3\] with 5 channels, got \[2, \d, \d\]"):
            linear_add_norm(x, layer, torch.randn(shape), norm)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear_act(x[..., :3], layer, RELU)


@torch.inference_mode()
def test_the_feed_forward_of_a_conformer_runs_in_three_launches(
    device: torch.device, launched: list[tuple[int, ...]]
) -> None:
    torch.manual_seed(0)
    ff, norm = FeedForward(12, 40, bias=True, dropout=0.1).to(device).eval(), norm_of(12, torch.float32, device)
    x, y = torch.randn(2, 2, 3, 12, device=device)
    total, normed = ff.add_norm(x, y, norm, scale=0.5)
    assert launched == [(2, 3, 40), (1, 2, 3, 12)]
    assert_close(total, x.double() + 0.5 * plain(ff, y), torch.float32)
    assert_close(normed, exactly(norm, total), torch.float32)
    assert_close(ff(x), plain(ff, ff.norm(x)), torch.float32)


@torch.inference_mode()
@pytest.mark.parametrize("activation", [nn.SiLU(), nn.GELU("tanh"), nn.Mish()], ids=str)
def test_the_feed_forward_of_a_flow_equals_its_modules(
    activation: nn.Module, device: torch.device, launched: list[tuple[int, ...]]
) -> None:
    torch.manual_seed(0)
    ff, x = layers.FeedForward(12, 40, activation).to(device).eval(), torch.randn(2, 3, 12, device=device)
    assert_close(ff(x), plain(ff, x), torch.float32)
    assert launched == ([] if isinstance(activation, nn.Mish) else [(2, 3, 40)])


@torch.no_grad()
@pytest.mark.parametrize("packed", [False, True])
def test_without_a_card_a_conformer_computes_what_its_modules_do_bit_for_bit(packed: bool) -> None:
    torch.manual_seed(0)
    ff, norm, x = FeedForward(12, 40, bias=True, dropout=0.1).eval(), nn.LayerNorm(12), torch.randn(2, 3, 12)
    if packed:
        pack(ff)
    total = torch.add(x, ff.down(nn.functional.silu(ff.up(x))), alpha=0.5)
    got = ff.add_norm(x, x, norm, scale=0.5)
    assert torch.equal(got[0], total) and torch.equal(got[1], norm(total))


@torch.no_grad()
def test_training_drops_out_though_no_gradient_is_recorded(device: torch.device) -> None:
    ff, x = FeedForward(12, 40, bias=True, dropout=1.0).to(device), torch.randn(2, 3, 12, device=device)
    assert torch.equal(ff.add_norm(x, x, norm_of(12, torch.float32, device))[0], x)


def plain(ff: FeedForward | layers.FeedForward, x: Tensor) -> Tensor:
    """Linear, activation, linear in float64."""
    ff, x = copy.deepcopy(ff).double(), x.double()
    return ff.down(ff.activation(ff.up(x)))
