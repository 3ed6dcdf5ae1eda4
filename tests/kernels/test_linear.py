"""Packed linear layers give what plain ones give."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from speech.kernels.linear import Linear, pack


def packed(inputs: int, outputs: int, *, bias: bool = True) -> tuple[Linear, Linear]:
    """A plain layer and a packed one of the same weights."""
    plain, other = Linear(inputs, outputs, bias=bias), Linear(inputs, outputs, bias=bias)
    other.load_state_dict(plain.state_dict())
    pack(other)
    return plain, other


@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 70),
    bias=st.booleans(),
)
@settings(max_examples=30, deadline=None)
@torch.inference_mode()
def test_packed_equals_float64(shape: list[int], inputs: int, outputs: int, bias: bool) -> None:
    plain, other = packed(inputs, outputs, bias=bias)
    x = torch.randn(*shape, inputs)
    torch.testing.assert_close(other(x), plain.double()(x.double()).float(), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_strided_inputs() -> None:
    plain, other = packed(24, 17)
    x = torch.randn(24, 6, 3).permute(1, 2, 0)
    torch.testing.assert_close(other(x[::2]), plain(x[::2]))


def test_names_and_shapes_stay_and_are_shared() -> None:
    plain, other = packed(8, 6)
    assert {k: v.shape for k, v in other.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    third = Linear(8, 6, device="meta")
    third.load_state_dict(other.state_dict(keep_vars=True), assign=True)
    assert third.weight is other.weight
    pack(third)
    assert third.weight is other.weight


def test_only_float32_linears_change() -> None:
    module = nn.Sequential(nn.Linear(4, 4), Linear(4, 4, dtype=torch.bfloat16), nn.LSTM(4, 4))
    pack(module)
    assert not any(p.is_mkldnn for p in module.parameters())


def test_plain_layers_train() -> None:
    layer = Linear(3, 2)
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, torch.ones(2, 3))
