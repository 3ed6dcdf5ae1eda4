"""Keeping samples within full scale."""

from __future__ import annotations

import numpy as np

KNEE = 0.85
"""Level (of full scale 1) up to which samples pass untouched: -1.4 dB."""


def limited(samples: np.ndarray, knee: float = KNEE) -> np.ndarray:
    """Samples [n] bent so that none leaves [-1, 1]: untouched up to `knee`, above it on a tanh of slope 1 at the knee.

    Every sample is treated alone, so nothing is delayed, and chunks give what the whole signal gives.
    """
    level = np.abs(samples)
    room = 1.0 - knee
    bent = np.copysign(knee + room * np.tanh((level - knee) / room), samples)
    return np.where(level > knee, bent, samples).astype(np.float32)
