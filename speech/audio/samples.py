"""Samples as users hand them over."""

from __future__ import annotations

import numpy as np

from speech.errors import SpeechError

LOUDEST = 1000.0  # of samples that are nominally in [-1, 1]: beyond lie integers that were not scaled, and damage


def to_float(pcm: np.ndarray) -> np.ndarray:
    """Check samples [n], float32 or int16, and give them as float32 in [-1, 1]. Raises SpeechError."""
    if not isinstance(pcm, np.ndarray) or pcm.dtype not in (np.float32, np.int16):
        kind = pcm.dtype if isinstance(pcm, np.ndarray) else type(pcm).__name__
        raise SpeechError(
            f"expected a numpy array of float32 or int16 samples, got {kind}: convert it with .astype(np.float32)"
        )
    if pcm.ndim != 1:
        raise SpeechError(f"expected mono samples of shape [n], got {list(pcm.shape)}: push one channel or their mean")
    if pcm.dtype == np.int16:
        return pcm.astype(np.float32) / 32768
    if fault := unfit(pcm):
        raise SpeechError(f"expected {fault[1]}: check what makes them")
    return np.ascontiguousarray(pcm)


def unfit(samples: np.ndarray) -> tuple[int, str] | None:
    """The first of samples [n] that cannot be sound: where, and "what was expected, got what". None: there is none."""
    loud = np.abs(samples)
    if loud.max(initial=0.0) <= LOUDEST:  # not so of NaN either
        return None
    at = int(np.argmin(loud <= LOUDEST))
    if np.isfinite(samples[at]):
        return at, f"samples in [-1, 1], got {samples[at]:.4g}"
    return at, "finite samples, got NaN or infinity"
