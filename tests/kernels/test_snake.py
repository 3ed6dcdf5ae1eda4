"""The snake activation against float64, in both orders of memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from speech.kernels.snake import snake, snake_reference
from speech.streaming.frames import Frames
from speech.vocoder.resblock import ResBlock
from tests.kernels.stepped import stepped
from tests.kernels.tolerances import TOLERANCES


@pytest.mark.parametrize("op", [snake, snake_reference])
@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize(("b", "t", "d"), [(1, 1, 1), (2, 17, 3), (3, 70, 17), (0, 5, 2)])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("order", ["frames", "channels", "neither"])
@pytest.mark.usefixtures("poisoned")
def test_snake_equals_float64(
    op: Callable[..., Tensor],
    dtype: torch.dtype,
    b: int,
    t: int,
    d: int,
    biased: bool,
    order: str,
    device: torch.device,
) -> None:
    torch.manual_seed(t)
    x = torch.randn(b, t, d)
    if order == "channels":
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    if order == "neither":
        x = torch.randn(b, t, 2 * d)[..., ::2]
    x = x.to(device, dtype)
    alpha, bias = (0.5 + torch.rand(d)).to(device, dtype), torch.randn(d).to(device, dtype)
    wide = x.double() + bias.double() if biased else x.double()
    expected = wide + (alpha.double() * wide).sin().square() / alpha.double()
    y = op(x, alpha, bias if biased else None)
    rtol, atol = TOLERANCES[dtype]
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected, rtol=rtol, atol=atol)


def test_gradients_flow_where_they_are_wanted(device: torch.device) -> None:
    x, alpha = torch.randn(1, 4, 3, device=device), torch.ones(3, device=device, requires_grad=True)
    (grad,) = torch.autograd.grad(snake(x, alpha).sum(), alpha)
    sine, cosine = x.sin(), x.cos()
    torch.testing.assert_close(grad, (2 * x * sine * cosine - sine.square()).sum((0, 1)))


@torch.inference_mode()
def test_a_residual_block_steps_as_it_runs_whole(device: torch.device) -> None:
    torch.manual_seed(0)
    block = ResBlock(5, 3, (1, 2), causal=True).to(device)
    x = torch.randn(2, 11, 5, device=device)
    torch.testing.assert_close(stepped(block, x, 4), block(Frames.whole(x)).data, rtol=1e-5, atol=1e-5)
