"""Samples as users hand them over."""

from __future__ import annotations

import numpy as np

from speech.errors import SpeechError


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
    if not np.isfinite(pcm).all():
        raise SpeechError("expected finite samples, got NaN or infinity: check what makes them")
    return np.ascontiguousarray(pcm)
