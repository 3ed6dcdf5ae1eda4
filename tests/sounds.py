"""Speech and music for tests that ask which is which."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from speech.audio.file import read
from speech.audio.resample import resample


def said(seconds: float, rate: int = 16000, start: float = 2.0) -> np.ndarray:
    """Speech, a part of the demo recording, which begins `start` seconds in: [n] float32."""
    demo = read(Path(__file__).parents[1] / "demo" / "demo.flac")
    first = round(start * demo.sample_rate)
    part = demo.samples[first : first + round(seconds * demo.sample_rate)]
    return resample(part, demo.sample_rate, rate)[: round(seconds * rate)]


def music(seconds: float, rate: int = 16000) -> np.ndarray:
    """A plucked melody in fifths, [n] float32."""
    time = np.arange(round(0.25 * rate)) / rate
    notes = [
        sum(np.sin(2 * np.pi * k * pitch * time) / k**2 for i in range(1, 7) for k in (i, 1.5 * i)) * np.exp(-4 * time)
        for pitch in (220.0, 246.9, 277.2, 329.6, 293.7, 246.9, 370.0, 196.0)
    ]
    return (0.2 * np.resize(np.concatenate(notes), round(seconds * rate))).astype(np.float32)
