"""Fundamental frequency by YIN (de Cheveigne and Kawahara 2002, J. Acoust. Soc. Am. 111), all frames at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter


@dataclass(frozen=True)
class YinConfig:
    """low, high: Hz. window: samples that are compared with those one period later.

    clear: the first dip of the normalised difference below this is the period (step 4 of the paper); without one it is
    the deepest dip. voiced: a frame has a voice when its dip is below this and its level above `floor_db`, dB of full
    scale. smooth: frames of a median filter within voiced stretches, against jumps by an octave.
    """

    low: float = 60.0
    high: float = 500.0
    window: int = 512
    clear: float = 0.12
    voiced: float = 0.3
    floor_db: float = -55.0
    smooth: int = 5


def yin(x: np.ndarray, rate: int, hop: int, config: YinConfig | None = None) -> np.ndarray:
    """f0 in Hz for every whole frame, 0 where there is no voice. x: [n] -> [n // hop] float32.

    Frame k is centred on sample (k + 1/2) * hop.
    """
    c = config or YinConfig()
    count, longest = len(x) // hop, int(np.ceil(rate / c.low)) + 1
    if not count:
        return np.zeros(0, np.float32)
    span = c.window + longest
    before = span // 2 - hop // 2
    padded = np.pad(x.astype(np.float32), (max(before, 0), span))
    frames = np.lib.stride_tricks.sliding_window_view(padded, span)[: count * hop : hop]
    dips = _normalised_difference(frames, c.window)  # [t, lags]
    period, depth = _pick(dips, int(rate / c.high), c.clear)
    level = 10 * np.log10((frames**2).mean(1) + 1e-12)
    voiced = (depth < c.voiced) & (level > c.floor_db)
    f0 = np.where(voiced, rate / period, 0.0)
    return _smooth(f0, c.smooth).astype(np.float32)


def _normalised_difference(frames: np.ndarray, window: int) -> np.ndarray:
    """Steps 2 and 3 of the paper: squared difference to the frame `lag` later over its mean up to that lag.

    frames: [t, window + lags] -> [t, lags].
    """
    lags = frames.shape[1] - window
    size = 1 << (frames.shape[1] + window - 1).bit_length()
    spectrum = np.fft.rfft(frames, size) * np.fft.rfft(frames[:, :window], size).conj()
    product = np.fft.irfft(spectrum, size)[:, :lags]
    power = np.cumsum(np.pad(frames.astype(np.float64) ** 2, ((0, 0), (1, 0))), 1)
    energy = power[:, window:] - power[:, :-window]  # of the window at every lag
    difference = np.maximum(energy[:, :1] + energy[:, :lags] - 2 * product, 0.0)
    total = np.cumsum(difference[:, 1:], 1)
    lag = np.arange(1, lags)
    normalised = difference[:, 1:] * lag / np.maximum(total, 1e-9)
    return np.concatenate([np.ones((len(frames), 1)), normalised], 1)


def _pick(dips: np.ndarray, shortest: int, clear: float) -> tuple[np.ndarray, np.ndarray]:
    """The period in samples, refined by a parabola (step 5), and the depth of its dip. [t, lags] -> [t], [t]."""
    inner = dips[:, 1:-1]
    low = (inner <= dips[:, :-2]) & (inner < dips[:, 2:])
    low[:, : shortest - 1] = False
    candidate = low & (inner < clear)
    first, deepest = candidate.argmax(1), np.where(low, inner, np.inf).argmin(1)
    best = np.where(candidate.any(1), first, deepest) + 1
    rows = np.arange(len(dips))
    a, b, c = (dips[rows, best + i] for i in (-1, 0, 1))
    bend = a - 2 * b + c
    shift = np.where(bend > 1e-12, 0.5 * (a - c) / np.maximum(bend, 1e-12), 0.0)
    return best + shift.clip(-0.5, 0.5), np.where(low.any(1), b, 1.0)


def _smooth(f0: np.ndarray, width: int) -> np.ndarray:
    """A median over voiced frames; voiced stretches shorter than half of it are dropped. [t] -> [t]."""
    voiced = f0 > 0
    kept = voiced & (median_filter(voiced.astype(np.uint8), width, mode="constant") > 0)
    result = np.zeros_like(f0)
    result[kept] = median_filter(f0[voiced], width, mode="nearest")[kept[voiced]] if kept.any() else 0
    return result
