"""The overlap-add at the end of two vocoders: MeanVC's in chunks of 160 ms, CosyVoice 2's in chunks of a second."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.kernels.case import Call, Case
from speech.kernels.overlap_add import overlap_add, overlap_add_reference


def cases() -> Iterator[Case]:
    """By vocoder, frames of a chunk, samples of a frame and hop."""
    for name, t, n, hop, batches in (("Vocos", 16, 640, 160, (1, 16, 64)), ("HiFT", 6000, 16, 4, (1, 16))):
        for b in batches:
            numbers = b * (t * n + t * hop + 4 * (n - hop)) + n  # frames, samples, sums twice; window
            make = partial(calls, b, t, n, hop)
            yield Case(f"overlap-add of {name}, B {b}", make, 4 * numbers, 4 * b * t * n, torch.float32)


def calls(b: int, t: int, n: int, hop: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """The kernel and the reference, each with sums of its own."""
    torch.manual_seed(0)
    x, window = torch.randn(b, t, n).to(device, dtype), torch.hann_window(n).to(device, dtype)
    valid = torch.ones(b, t, dtype=torch.bool, device=device)
    sums = [torch.zeros(b + 1, n - hop, 2, device=device, dtype=dtype) for _ in range(2)]
    slots = torch.randperm(b + 1)[:b].to(device)
    ops = (overlap_add, overlap_add_reference)
    kernel, reference = (partial(op, x, valid, window, hop, own, slots) for op, own in zip(ops, sums, strict=True))
    return kernel, reference
