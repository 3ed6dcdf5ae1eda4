"""Analysis windows and mel filter banks, by their public definitions."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from speech.errors import SpeechError

WindowShape = Literal["hann", "hann_periodic", "hamming", "povey"]
MelScale = Literal["slaney", "htk", "kaldi"]


def analysis_window(shape: WindowShape, length: int) -> Tensor:
    """A window of `length` samples, [length].

    "hann", "hamming" (0.54, 0.46) and "povey" (Hann to the power of 0.85, as in Kaldi's feature-window.cc) are
    symmetric; "hann_periodic" is the one of short-time Fourier transforms. Raises SpeechError for another shape.
    """
    if shape not in get_args(WindowShape):
        raise SpeechError(f"expected a window shape of {', '.join(get_args(WindowShape))}, got '{shape}'")
    if shape == "hamming":
        return torch.hamming_window(length, periodic=False)
    window = torch.hann_window(length, periodic=shape == "hann_periodic")
    return window**0.85 if shape == "povey" else window


def mel_bank(
    sample_rate: int,
    n_fft: int,
    features: int,
    low: float = 0.0,
    high: float | None = None,
    scale: MelScale = "slaney",
) -> Tensor:
    """Triangular filters between `low` and `high` Hz (default: half the sample rate). [features, n_fft / 2 + 1].

    * "slaney": mel linear below 1 kHz, logarithmic above, filters of equal area (Slaney 1998, Auditory Toolbox); equals
      `librosa.filters.mel(...)`.
    * "htk": 2595 log10(1 + f / 700), filters of equal height; equals `librosa.filters.mel(..., htk=True, norm=None)`.
    * "kaldi": the same mel, filters of equal height whose sides are straight in mel, not in Hz (mel-computations.cc).

    Raises SpeechError for another scale and for edges out of order.
    """
    high = sample_rate / 2 if high is None else high
    if scale not in get_args(MelScale):
        raise SpeechError(f"expected a mel scale of {', '.join(get_args(MelScale))}, got '{scale}'")
    if not 0 <= low < high <= sample_rate / 2:
        raise SpeechError(f"expected 0 <= low < high <= {sample_rate / 2:g} Hz, got low {low:g} and high {high:g}")
    at = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    first, last = _to_mel(torch.tensor([low, high], dtype=torch.float64), scale).tolist()
    edges = torch.linspace(first, last, features + 2, dtype=torch.float64)
    if scale == "kaldi":
        at = _to_mel(at, scale)
    else:
        edges = _to_hz(edges, scale)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank = torch.minimum((at - left) / (centre - left), (right - at) / (right - centre)).clamp(min=0)
    return (bank * (2 / (right - left)) if scale == "slaney" else bank).float()


_BREAK, _SLOPE = 1000.0, 200 / 3  # Slaney: where the scale turns from lines to octaves, and Hz per mel below
_OCTAVE = math.log(6.4) / 27  # natural logarithm of frequency per mel above


def _to_mel(hz: Tensor, scale: MelScale) -> Tensor:
    if scale != "slaney":
        return 2595 * torch.log10(1 + hz / 700)
    return torch.where(hz < _BREAK, hz / _SLOPE, _BREAK / _SLOPE + (hz.clamp(min=_BREAK) / _BREAK).log() / _OCTAVE)


def _to_hz(mel: Tensor, scale: MelScale) -> Tensor:
    if scale != "slaney":
        return 700 * (10 ** (mel / 2595) - 1)
    above = mel - _BREAK / _SLOPE
    return torch.where(above < 0, mel * _SLOPE, _BREAK * (above * _OCTAVE).exp())
