"""The logarithm of mel spectra of frames of samples, in two launches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.kernels.backend import infers, jit, tl, triton


def log_mel(
    frames: Tensor,
    window: Tensor,
    bank: Tensor,
    n_fft: int,
    *,
    floor: float,
    clamp: bool = False,
    magnitude: float | None = None,
) -> Tensor:
    """log(bank . |DFT(window * frames)|^2 + floor), or with `clamp` log(max(bank . |...|^2, floor)).

    magnitude: the bank takes sqrt(|...|^2 + magnitude) instead of the power. frames: [b, t, n] of n <= n_fft samples,
    also as overlapping views of one signal, which is then read as it lies; window: [n]; bank: [features,
    n_fft / 2 + 1], all float32 (or float64). Returns [b, t, features].
    """
    if not infers(frames, window, bank):
        return log_mel_reference(frames, window, bank, n_fft, floor=floor, clamp=clamp, magnitude=magnitude)
    (b, t, n), (features, bins) = frames.shape, bank.shape
    power = frames.new_empty(b * t, bins)
    y = frames.new_empty(b, t, features)
    block = 16 if b * t <= 1024 else 64  # few frames are spread over more programs
    row_stride, frame_stride, sample_stride = frames.stride()
    _power_kernel[triton.cdiv(b * t, block), triton.cdiv(bins, 32)](
        frames,
        window,
        power,
        b * t,
        t,
        bins,
        n_fft,
        row_stride,
        frame_stride,
        sample_stride,
        0.0 if magnitude is None else magnitude,
        N=n,
        ROOT=magnitude is not None,
        FRAMES=block,
        BINS=32,
        SAMPLES=32,
        num_warps=4 if block == 16 else 8,
    )
    _log_mel_kernel[triton.cdiv(b * t, block), triton.cdiv(features, 32)](
        power, bank, y, b * t, features, floor, BINS=bins, CLAMP=clamp, FRAMES=block, FEATURES=32, BLOCK=64
    )
    return y


def log_mel_reference(
    frames: Tensor,
    window: Tensor,
    bank: Tensor,
    n_fft: int,
    *,
    floor: float,
    clamp: bool = False,
    magnitude: float | None = None,
) -> Tensor:
    """The same in PyTorch, by the fast transform."""
    below = (n_fft - len(window)) // 2  # centred as in torch.stft: float32 rounds as the originals do
    bins = torch.fft.rfft(pad(frames * window, (below, n_fft - len(window) - below)))
    power = bins.real.square() + bins.imag.square()
    if magnitude is not None:
        power = (power + magnitude).sqrt()
    mel = power @ bank.T
    return (mel.clamp(min=floor) if clamp else mel + floor).log()


@jit
def _power_kernel(
    x_ptr,  # [b, t, N]
    window_ptr,  # [N]
    power_ptr,  # [b * t, bins]
    count,  # b * t
    t,
    bins,
    n_fft,
    row_stride,
    frame_stride,
    sample_stride,
    magnitude,
    N: tl.constexpr,
    ROOT: tl.constexpr,
    FRAMES: tl.constexpr,
    BINS: tl.constexpr,
    SAMPLES: tl.constexpr,
):
    """A block of frames and of bins. Sines are computed: every block of frames would read a whole table of them."""
    frame = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    bin = tl.program_id(1) * BINS + tl.arange(0, BINS)
    x_ptr += (frame // t * row_stride + frame % t * frame_stride)[:, None]
    turn = 6.283185307179586 / n_fft
    real, imaginary = tl.zeros([FRAMES, BINS], tl.float32), tl.zeros([FRAMES, BINS], tl.float32)
    for block in range((N + SAMPLES - 1) // SAMPLES):
        sample = block * SAMPLES + tl.arange(0, SAMPLES)
        window = tl.load(window_ptr + sample, mask=sample < N, other=0.0)
        mask = (frame < count)[:, None] & (sample < N)[None, :]
        x = tl.load(x_ptr + sample[None, :] * sample_stride, mask=mask, other=0.0) * window[None, :]
        angle = (sample[:, None] * bin[None, :] % n_fft).to(tl.float32) * turn  # whole turns leave without a rounding
        real = tl.dot(x, tl.cos(angle), real, input_precision="tf32x3")
        imaginary = tl.dot(x, tl.sin(angle), imaginary, input_precision="tf32x3")
    power = real * real + imaginary * imaginary
    if ROOT:
        power = tl.sqrt(power + magnitude)
    tl.store(
        power_ptr + frame[:, None] * bins + bin[None, :], power, mask=(frame < count)[:, None] & (bin < bins)[None, :]
    )


@jit
def _log_mel_kernel(
    power_ptr,  # [count, BINS]
    bank_ptr,  # [features, BINS]
    y_ptr,  # [count, features]
    count,
    features,
    floor,
    BINS: tl.constexpr,
    CLAMP: tl.constexpr,
    FRAMES: tl.constexpr,
    FEATURES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A block of frames and of features."""
    frame = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    feature = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    mel = tl.zeros([FRAMES, FEATURES], tl.float32)
    for block in range((BINS + BLOCK - 1) // BLOCK):
        bin = block * BLOCK + tl.arange(0, BLOCK)
        within = bin < BINS
        at = power_ptr + frame[:, None] * BINS + bin[None, :]
        power = tl.load(at, mask=(frame < count)[:, None] & within[None, :], other=0.0)
        at = bank_ptr + feature[None, :] * BINS + bin[:, None]
        bank = tl.load(at, mask=(feature < features)[None, :] & within[:, None], other=0.0)
        mel = tl.dot(power, bank, mel, input_precision="tf32x3")
    if CLAMP:
        mel = tl.maximum(mel, floor)
    else:
        mel += floor
    mask = (frame < count)[:, None] & (feature < features)[None, :]
    tl.store(y_ptr + frame[:, None] * features + feature[None, :], tl.log(mel), mask=mask)
