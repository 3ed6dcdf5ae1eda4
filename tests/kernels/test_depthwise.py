"""The convolution module's middle, gate to SiLU, chunk by chunk against the whole signal in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, glu, silu

from speech.asr.conformer import Convolution
from speech.kernels.depthwise import depthwise_conv, depthwise_conv_reference
from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames
from tests.kernels.stepped import stepped
from tests.kernels.tolerances import TOLERANCES

OPS = [depthwise_conv, depthwise_conv_reference]
DTYPES = list(TOLERANCES)
SLOTS = 5


def normal(*shape: int, dtype: torch.dtype, device: torch.device, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(shape)).to(device, dtype)


def trained(norm: nn.LayerNorm | nn.BatchNorm1d) -> nn.LayerNorm | nn.BatchNorm1d:
    """A norm in evaluation that does not pass its inputs through."""
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()
    if isinstance(norm, nn.BatchNorm1d):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm.eval().requires_grad_(False)


def arena_view(kept: int, d: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The memory of slots, and caches in it whose slots lie farther apart than they are long."""
    memory = normal(SLOTS, kept * d + 7, dtype=dtype, device=device)
    return memory, memory[:, 3 : 3 + kept * d].unflatten(1, (kept, d))


def exact(x: Tensor, old: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution in float64. x: [b, t, d] inputs; old: [b, k - 1, d] -> [b, t, d]."""
    seen = torch.cat([old.double(), x], 1).transpose(1, 2)
    wide = None if bias is None else bias.double()
    return conv1d(seen, weight.double(), wide, groups=len(weight)).transpose(1, 2)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("b", "t", "d", "taps"), [(1, 1, 3, 2), (3, 2, 70, 9), (2, 17, 17, 4)])
@pytest.mark.parametrize("kind", ["layer", "batch"])
@pytest.mark.usefixtures("poisoned")
def test_gate_convolution_norm_and_activation_equal_float64(
    op: Callable[..., Tensor], dtype: torch.dtype, b: int, t: int, d: int, taps: int, kind: str, device: torch.device
) -> None:
    torch.manual_seed(b)
    x = normal(b, t, 2 * d, dtype=dtype, device=device)
    weight = normal(d, 1, taps, dtype=dtype, device=device, scale=taps**-0.5)
    bias, level = (normal(d, dtype=dtype, device=device) for _ in range(2))
    norm = trained(nn.LayerNorm(d) if kind == "layer" else nn.BatchNorm1d(d)).to(device, dtype)
    outside = torch.rand(b, t, device=device) < 0.3
    x[outside] = float("nan")  # what lies outside a stream may be anything
    _, tail = arena_view(taps - 1, d, dtype, device)
    slots = torch.randperm(SLOTS, device=device)[:b]
    new = (glu(x.double(), -1) - level.double()).masked_fill(outside[..., None], 0)
    old = tail[slots].clone()
    expected = exact(new, old, weight, bias)
    wide = copy.deepcopy(norm).double()
    expected = silu(wide(expected) if kind == "layer" else wide(expected.flatten(0, 1)).view_as(expected))

    y = op(x, outside, tail, slots, weight, bias, level=level, norm=norm, activate=True)
    rtol, atol = TOLERANCES[dtype]
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected, rtol=rtol, atol=atol)
    kept = torch.cat([old.double(), new], 1)[:, t:]
    torch.testing.assert_close(tail[slots].double(), kept, rtol=rtol, atol=atol)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("poisoned")
def test_a_plain_depthwise_convolution_equals_float64(
    op: Callable[..., Tensor], dtype: torch.dtype, device: torch.device
) -> None:
    b, t, d, taps = 2, 3, 130, 7
    x, weight = normal(b, t, d, dtype=dtype, device=device), normal(d, 1, taps, dtype=dtype, device=device, scale=0.4)
    _, tail = arena_view(taps - 1, d, dtype, device)
    slots = torch.tensor([4, 1], device=device)
    expected = exact(x.double(), tail[slots], weight, None)
    y = op(x, torch.zeros(b, t, dtype=torch.bool, device=device), tail, slots, weight)
    torch.testing.assert_close(y.double(), expected, rtol=TOLERANCES[dtype][0], atol=TOLERANCES[dtype][1])


@pytest.mark.parametrize("op", OPS)
def test_slots_that_do_not_step_and_what_lies_between_slots_stay_bit_for_bit(
    op: Callable[..., Tensor], device: torch.device
) -> None:
    d, taps, slots = 17, 5, torch.tensor([3, 0], device=device)
    memory, tail = arena_view(taps - 1, d, torch.float32, device)
    before = memory.clone()
    x, weight = torch.randn(2, 3, 2 * d, device=device), torch.randn(d, 1, taps, device=device)
    op(x, torch.zeros(2, 3, dtype=torch.bool, device=device), tail, slots, weight)
    changed = torch.zeros_like(before, dtype=torch.bool)
    changed[slots, 3 : 3 + tail[0].numel()] = True
    assert torch.equal(memory[~changed], before[~changed])
    assert torch.equal(tail[slots][:, 0], before[:, 3 : 3 + tail[0].numel()].view(SLOTS, taps - 1, d)[slots][:, 3])


@pytest.mark.parametrize("op", OPS)
def test_chunks_of_any_size_in_any_slot_give_the_whole_signal(op: Callable[..., Tensor], device: torch.device) -> None:
    d, taps, total = 6, 4, 23
    x, weight = torch.randn(2, total, d, device=device), torch.randn(d, 1, taps, device=device)
    expected = exact(x.double(), torch.zeros(2, taps - 1, d, device=device), weight, None)
    tail, slots, at, outs = torch.zeros(SLOTS, taps - 1, d, device=device), torch.tensor([2, 4], device=device), 0, []
    for count in (1, 2, 9, 1, 3, 7):  # less and more than the cache holds
        outside = torch.zeros(2, count, dtype=torch.bool, device=device)
        outs.append(op(x[:, at : at + count], outside, tail, slots, weight))
        tail[slots.flip(0)] = tail[slots]  # the two streams change places
        x, expected, outs = x.flip(0), expected.flip(0), [y.flip(0) for y in outs]
        at += count
    assert at == total
    torch.testing.assert_close(torch.cat(outs, 1).double(), expected, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_named(device: torch.device) -> None:
    outside, slots = torch.zeros(1, 2, dtype=torch.bool, device=device), torch.zeros(1, dtype=torch.long, device=device)
    with torch.no_grad(), pytest.raises(ValueError, match=r"expected frames of 6 or 12 channels and a cache of rows"):
        depthwise_conv(
            torch.ones(1, 2, 6, device=device),
            outside,
            torch.zeros(2, 4, 6, device=device),
            slots,
            torch.ones(6, 1, 4, device=device),
        )


def test_gradients_flow_where_they_are_wanted(device: torch.device) -> None:
    x, weight = torch.randn(1, 2, 6, device=device), torch.randn(6, 1, 4, device=device, requires_grad=True)
    outside, slots = torch.zeros(1, 2, dtype=torch.bool, device=device), torch.zeros(1, dtype=torch.long, device=device)
    depthwise_conv(x, outside, torch.zeros(1, 3, 6, device=device), slots, weight).sum().backward()
    expected = torch.stack([x[0, 0] * 0, x[0, 0] * 0, x[0, 0], x[0].sum(0)], 1)
    torch.testing.assert_close(weight.grad, expected[:, None])


@pytest.mark.parametrize("norm", ["layer_norm", "batch_norm"])
@pytest.mark.parametrize("level", [False, True])
@torch.inference_mode()
def test_the_convolution_module_steps_as_it_runs_whole(norm: str, level: bool, device: torch.device) -> None:
    torch.manual_seed(0)
    module = Convolution(6, 3, 0, norm=norm, bias=True, dropout=0.1, level=level).to(device).eval()  # type: ignore[arg-type]
    trained(module.get_submodule("inner_norm" if norm == "layer_norm" else "inner_norm.norm"))  # type: ignore[arg-type]
    x = torch.randn(2, 10, 6, device=device)
    whole = module(Frames.whole(x)).data
    torch.testing.assert_close(stepped(module, x, 4, phase=-1), whole, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_a_depthwise_layer_steps_as_it_runs_whole(device: torch.device) -> None:
    torch.manual_seed(0)
    module = Conv1d(6, 6, 3, 2, groups=6).to(device)
    x = torch.randn(2, 13, 6, device=device)
    whole = module(Frames.whole(x)).data
    torch.testing.assert_close(stepped(module, x, 3, phase=-2), whole, rtol=1e-5, atol=1e-5)
