"""The input that all programs get. Imports torch and soundfile only: it runs in NeMo's environment too."""

from __future__ import annotations

from pathlib import Path

import soundfile
import torch
from torch import Tensor

RECORDING = Path(__file__).resolve().parents[2] / "demo" / "demo.flac"
CHUNKS = 48  # enough for a ring of 70 frames to wrap at 2 frames a chunk; then the input repeats
BEFORE = 7  # frames of the first chunk that lie before the stream, so that frame 0 alone gives the first output


def log_mel(batch: int, frames: int, features: int, context: int = 0) -> Tensor:
    """`CHUNKS` chunks of `frames` random log-mel frames, behind `context + BEFORE` zero frames: [b, t, features].

    Chunk k and the `context` frames before it begin at k * frames.
    """
    source = torch.Generator().manual_seed(0)
    mel = torch.randn(batch, CHUNKS * frames, features, generator=source)
    return torch.cat([mel.new_zeros(batch, context + BEFORE, features), mel], 1)


def recording() -> Tensor:
    """18 seconds of speech at 16 kHz: [n]."""
    return torch.from_numpy(soundfile.read(RECORDING, dtype="float32")[0])


def speech(batch: int, samples: int) -> Tensor:
    """`CHUNKS` chunks of `samples` samples of the recording, every stream from another place on: [b, n]."""
    x = recording()
    start = torch.arange(batch)[:, None] * (len(x) // batch)
    return x[(start + torch.arange(CHUNKS * samples)) % len(x)]
