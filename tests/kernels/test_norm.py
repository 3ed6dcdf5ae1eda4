"""Residual sums and the norms behind them, against float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from speech.asr.conformer import ConformerLayer
from speech.flow.dit import DiTConfig, DiTLayer
from speech.flow.layers import Context
from speech.kernels.norm import (
    add_modulate,
    add_modulate_reference,
    add_norm,
    add_norm_reference,
    modulate,
    modulate_reference,
)
from speech.streaming.attention import Attention
from speech.streaming.frames import Frames
from tests.kernels.stepped import stepped
from tests.kernels.tolerances import TOLERANCES

DTYPES = list(TOLERANCES)
SIZES = [(1, 1, 3), (2, 3, 70), (3, 1, 17), (1, 2, 300)]


def assert_close(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert got.dtype == dtype
    rtol, atol = TOLERANCES[dtype]
    torch.testing.assert_close(got.double(), expected, rtol=rtol, atol=atol)


def frames(b: int, t: int, d: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    torch.manual_seed(d)
    return (torch.randn(b, t, d).to(device, dtype), torch.randn(b, t, d).to(device, dtype))


def norm_of(d: int) -> nn.LayerNorm:
    """With weights that show, and no gradient."""
    norm = nn.LayerNorm(d, eps=1e-3).requires_grad_(False)
    for weight in norm.parameters():
        nn.init.normal_(weight)
    return norm


def modulation(n: int, d: int, parts: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Vectors as they lie in the output of one linear layer: farther apart than they are long."""
    return (0.2 * torch.randn(n, 1, parts * d)).to(device, dtype).chunk(parts, -1)


@pytest.mark.parametrize("op", [add_norm, add_norm_reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("b", "t", "d"), SIZES)
@pytest.mark.usefixtures("poisoned")
def test_a_sum_and_its_norm_equal_float64(
    op: Callable[..., tuple[Tensor, Tensor]], dtype: torch.dtype, b: int, t: int, d: int, device: torch.device
) -> None:
    x, y = frames(b, t, d, dtype, device)
    norm = norm_of(d).to(device, dtype)
    total, normed = op(x, y, norm, scale=0.5)
    assert_close(total, x.double() + 0.5 * y.double(), dtype)
    assert_close(normed, copy.deepcopy(norm).double()(total.double()), dtype)


@pytest.mark.parametrize("op", [modulate, modulate_reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("b", "t", "d"), SIZES)
@pytest.mark.usefixtures("poisoned")
def test_a_modulated_norm_equals_float64(
    op: Callable[..., Tensor], dtype: torch.dtype, b: int, t: int, d: int, device: torch.device
) -> None:
    x, _ = frames(b, t, d, dtype, device)
    for n in {1, b}:
        _, scale, shift = modulation(n, d, 3, dtype, device)
        expected = layer_norm(x.double(), (d,), eps=1e-6) * (1 + scale.double()) + shift.double()
        assert_close(op(x, scale, shift, eps=1e-6), expected, dtype)


@pytest.mark.parametrize("op", [add_modulate, add_modulate_reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("b", "t", "d"), SIZES)
@pytest.mark.usefixtures("poisoned")
def test_a_gated_sum_and_its_modulated_norm_equal_float64(
    op: Callable[..., tuple[Tensor, Tensor]], dtype: torch.dtype, b: int, t: int, d: int, device: torch.device
) -> None:
    x, y = frames(b, t, d, dtype, device)
    for n in {1, b}:
        gate, scale, shift = modulation(n, d, 3, dtype, device)
        total, normed = op(x, y, gate, scale, shift, eps=1e-6)
        assert_close(total, x.double() + gate.double() * y.double(), dtype)
        expected = layer_norm(total.double(), (d,), eps=1e-6) * (1 + scale.double()) + shift.double()
        assert_close(normed, expected, dtype)


@pytest.mark.usefixtures("poisoned")
def test_frames_in_another_order_of_memory_are_read_as_they_are(device: torch.device) -> None:
    x, y = (z.transpose(1, 2) for z in frames(2, 5, 3, torch.float32, device))
    norm = norm_of(5).to(device)
    expected = add_norm_reference(x, y, norm)
    for got, wanted in zip(add_norm(x, y, norm), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_gradients_flow_where_they_are_wanted(device: torch.device) -> None:
    x, y = frames(1, 2, 5, torch.float32, device)
    gate, scale, shift = (z.requires_grad_() for z in torch.randn(3, 1, 1, 5, device=device))
    for op in (add_modulate, add_modulate_reference):
        total, normed = op(x, y, gate, scale, shift)
        grads = torch.autograd.grad((total + normed.square()).sum(), (gate, scale, shift))
        assert all(grad.abs().min() > 0 for grad in grads)


@torch.no_grad()
def test_derivatives_in_forward_mode_flow_though_no_gradient_is_recorded(device: torch.device) -> None:
    x, tangent = frames(1, 2, 5, torch.float32, device)
    scale, shift = modulation(1, 5, 2, torch.float32, device)
    got = torch.func.jvp(lambda x: modulate(x, scale, shift), (x,), (tangent,))
    expected = torch.func.jvp(lambda x: modulate_reference(x, scale, shift), (x,), (tangent,))
    torch.testing.assert_close(got, expected)


@torch.inference_mode()
def test_a_layer_of_the_diffusion_transformer_steps_as_it_runs_whole(device: torch.device) -> None:
    torch.manual_seed(0)
    layer = DiTLayer(DiTConfig(dim=12, heads=2, head_dim=8), Context(chunk=2, left=4)).to(device).eval()
    time, x = torch.randn(2, 1, 6 * 12, device=device), torch.randn(2, 7, 12, device=device)
    whole = layer(Frames.whole(x), time).data
    torch.testing.assert_close(stepped(layer, x, 4, time), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [{"left": 4, "chunk": 2}, {"left": 3, "right": 1}])
@torch.inference_mode()
def test_a_conformer_layer_is_its_residuals_one_by_one(window: dict[str, Any], device: torch.device) -> None:
    torch.manual_seed(0)
    look_ahead = window.get("right", 0)
    layer = ConformerLayer(
        Attention(12, 2, **window),
        ff_hidden=16,
        conv_context=(2, look_ahead),
        conv_norm="layer_norm",
        bias=True,
        dropout=0.1,
    )
    for norm in layer.modules():
        if isinstance(norm, nn.LayerNorm):
            nn.init.normal_(norm.weight)
    layer, x = layer.to(device).eval(), torch.randn(2, 7, 12, device=device)
    one_by_one = Frames.whole(x)
    for residual in (layer.ff1, layer.attention, layer.conv, layer.ff2):
        one_by_one = residual(one_by_one)
    expected = layer.norm(one_by_one.data)
    torch.testing.assert_close(layer(Frames.whole(x)).data, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(stepped(layer, x, 4), expected, rtol=1e-5, atol=1e-5)
