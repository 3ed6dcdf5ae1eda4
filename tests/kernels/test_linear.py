"""Packed linear layers give what plain ones give, and can be saved, copied and moved as they can."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from speech.kernels.linear import LSTM, Linear, pack, padded_rows


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


def test_numbers_of_rows_are_few_and_little_is_added() -> None:
    found = [padded_rows(rows) for rows in range(4097)]
    assert found[:10] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10] and len(set(found)) == 45
    assert all(rows <= more < 1.25 * rows + 1 for rows, more in enumerate(found))


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


def test_a_packed_layer_is_saved_and_loaded_as_a_plain_one() -> None:
    plain, other = packed(8, 6)
    for name, x in other.state_dict().items():
        torch.testing.assert_close(x, plain.state_dict()[name], rtol=0, atol=0)
    third = Linear(8, 6)
    pack(third)
    third.load_state_dict(other.state_dict())
    assert torch.equal(third.weight, plain.weight) and third.weight.requires_grad


def test_a_packed_layer_is_copied_and_pickled() -> None:
    plain, other = packed(8, 6)
    file = io.BytesIO()
    torch.save(nn.Sequential(other), file)
    file.seek(0)
    for twin in (copy.deepcopy(other), torch.load(file, weights_only=False)[0]):
        assert torch.equal(twin.weight, plain.weight) and twin.bias is not other.bias
    assert other.weight.is_mkldnn == packed(8, 6)[1].weight.is_mkldnn


@pytest.mark.parametrize("place", [{"dtype": torch.bfloat16}, {"dtype": torch.float64}, {"device": "meta"}])
def test_a_packed_layer_is_moved_and_cast(place: dict) -> None:
    plain, other = packed(8, 6)
    assert other.to("cpu").weight.is_mkldnn == packed(8, 6)[1].weight.is_mkldnn  # already there: it stays packed
    other.to(**place)
    wanted = plain.weight.to(**place)
    assert (other.weight.dtype, other.weight.device, other.weight.shape) == (wanted.dtype, wanted.device, wanted.shape)
    if "dtype" in place:
        assert torch.equal(other.weight, wanted)
        assert other(torch.ones(1, 8, **place)).dtype == place["dtype"]


def test_an_unpacked_layer_trains_again() -> None:
    _, other = packed(8, 6)
    other.unpack()
    other(torch.ones(1, 8)).sum().backward()
    assert other.weight.grad is not None


@given(b=st.integers(1, 5), n=st.integers(1, 20), d=st.integers(1, 20))
@settings(max_examples=10, deadline=None)
@torch.inference_mode()
def test_cells_equal_the_sequence_kernel_in_float64(b: int, n: int, d: int) -> None:
    lstm, x = LSTM(n, d, 2, batch_first=True), torch.randn(b, 3, n)
    wide = copy.deepcopy(lstm).double()
    expected = wide(x.double())[0].float()
    for _ in range(2):  # plain, then packed
        state = [(torch.zeros(b, d), torch.zeros(b, d)) for _ in range(2)]
        found = []
        for y in x.unbind(1):
            for i in range(2):
                state[i] = lstm.cell(i, y, *state[i])
                y = state[i][0]
            found.append(y)
        torch.testing.assert_close(torch.stack(found, 1), expected, rtol=1e-5, atol=1e-5)
        pack(lstm)


@torch.inference_mode()
def test_packed_cells_follow_their_weights() -> None:
    lstm, other = LSTM(3, 4), LSTM(3, 4)

    def step(cells: LSTM, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        zeros = torch.zeros(1, 4, dtype=dtype)
        return cells.cell(0, torch.ones(1, 3, dtype=dtype), zeros, zeros)[0].float()

    before = step(lstm)
    pack(lstm)
    assert lstm.state_dict().keys() == other.state_dict().keys()
    torch.testing.assert_close(step(copy.deepcopy(lstm)), before)
    torch.testing.assert_close(step(copy.deepcopy(lstm).double(), torch.float64), before)
    lstm.load_state_dict(other.state_dict())
    torch.testing.assert_close(step(lstm), step(other))


def test_only_float32_linears_change() -> None:
    module = nn.Sequential(nn.Linear(4, 4), Linear(4, 4, dtype=torch.bfloat16), nn.LSTM(4, 4))
    pack(module)
    assert not any(p.is_mkldnn for p in module.parameters())


def test_plain_layers_train() -> None:
    layer = Linear(3, 2)
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, torch.ones(2, 3))
