"""The log-mel front end of the FastConformer, in chunks of 160 ms."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import log2

import torch

from benchmarks.kernels.case import Call, Case
from speech.kernels.log_mel import log_mel, log_mel_reference

FRAMES, WINDOW, HOP, N_FFT, FEATURES = 16, 400, 160, 512, 80
SAMPLES = (FRAMES - 1) * HOP + WINDOW
BINS = N_FFT // 2 + 1


def cases() -> Iterator[Case]:
    """One case a batch size. Least work: a fast transform and the product with the filter bank."""
    flops = FRAMES * (2.5 * N_FFT * log2(N_FFT) + 3 * BINS + 2 * BINS * FEATURES)
    for b in (1, 16, 64, 256, 512):
        size = 4 * (b * (SAMPLES + FRAMES * FEATURES) + BINS * FEATURES + WINDOW)
        yield Case(f"log-mel, B {b}", partial(calls, b), size, int(b * flops), torch.float32, waits=2)


def calls(b: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """Sixteen frames of every stream."""
    torch.manual_seed(0)
    frames = torch.randn(b, SAMPLES).to(device, dtype).unfold(1, WINDOW, HOP)
    window = torch.hann_window(WINDOW, periodic=False).to(device, dtype)
    bank = torch.rand(FEATURES, BINS).to(device, dtype)
    ops = (log_mel, log_mel_reference)
    kernel, reference = (partial(op, frames, window, bank, N_FFT, floor=2.0**-24) for op in ops)
    return kernel, reference
