"""The snake activations of CosyVoice 2's vocoder, in chunks of a second."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.kernels.case import Call, Case
from speech.kernels.snake import snake, snake_reference


def cases() -> Iterator[Case]:
    """The first and the last of its three stages; memory lies channel by channel, as convolutions leave it."""
    for b in (1, 16):
        for t, d in ((400, 256), (6000, 64)):
            numbers = b * t * d
            make = partial(calls, b, t, d)
            yield Case(f"snake [{t}, {d}], B {b}", make, 8 * numbers, 10 * numbers, torch.float32)


def calls(b: int, t: int, d: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """The activation behind the bias of a convolution."""
    torch.manual_seed(0)
    x = torch.randn(b, d, t).to(device, dtype).transpose(1, 2)
    alpha, bias = torch.rand(d).add(0.5).to(device, dtype), torch.randn(d).to(device, dtype)
    kernel, reference = (partial(op, x, alpha, bias) for op in (snake, snake_reference))
    return kernel, reference
