"""What speech tokenizers and speaker encoders have in common, and the recordings that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from speech.audio.resample import resample
from speech.errors import SpeechError

RATE = 16000
"""Samples a second (Hz) that every model of this room reads."""

VOICE_SECONDS = 0.5
"""Of a recording below which a vector says little of its speaker."""

SILENCE = 1e-3
"""A recording whose loudest sample stays below this (-60 dB of full scale) is silent."""


class SpeechTokenizer(Protocol):
    """Turns recordings into discrete speech tokens."""

    def encode(self, samples: Tensor | np.ndarray, sample_rate: float = RATE) -> Tensor:
        """Mono samples [n] in [-1, 1] -> codes [t], int64."""
        ...


class SpeakerEncoder(Protocol):
    """Turns recordings into one vector that tells speakers apart."""

    def embed(self, samples: Tensor | np.ndarray, sample_rate: float = RATE) -> Tensor:
        """Mono samples [n] in [-1, 1] -> a vector [d]."""
        ...


def mean_vector(vectors: Sequence[Tensor]) -> Tensor:
    """One vector for several recordings of a speaker: the mean direction of their vectors, at their mean length.

    vectors: each [d], at least one. However long one of them is, it counts as much as any other. -> [d].

    Raises:
        SpeechError: there is none, they differ in size, or they cancel out.
    """
    shapes = [list(vector.shape) for vector in vectors]
    if not shapes or shapes.count(shapes[0]) < len(shapes):
        raise SpeechError(
            f"expected one speaker vector or more, of one size, got sizes {shapes}: make them with one encoder"
        )
    stack = torch.stack(list(vectors))
    lengths = stack.norm(dim=1, keepdim=True)
    mean = (stack / lengths.clamp(min=1e-12)).mean(0)
    if not mean.norm() > 1e-6:
        raise SpeechError("expected speaker vectors that agree on a direction, they cancel out: take other recordings")
    return mean / mean.norm() * lengths.mean()


def recording(samples: Tensor | np.ndarray, sample_rate: float, *, shortest: float, audible: bool = False) -> Tensor:
    """A whole mono recording as float32 samples [n] at 16 kHz.

    samples: [n] in [-1, 1]. shortest: seconds that it must have at least. audible: it must not be silent.

    Raises:
        SpeechError: the samples are not mono or not floating, hold NaN or infinity, are too short or silent, or the
            sample rate is out of range.
    """
    x = np.asarray(samples) if isinstance(samples, np.ndarray) else samples.detach().cpu().numpy()
    if x.ndim != 1 or not np.issubdtype(x.dtype, np.floating):
        raise SpeechError(
            f"expected mono floating samples [n] in [-1, 1], got {x.dtype} {list(x.shape)}: average the channels and "
            "divide integers by their full scale"
        )
    x = resample(x, sample_rate, RATE)
    if len(x) < shortest * RATE:
        raise SpeechError(
            f"expected a recording of at least {shortest:g} s, got {len(x) / RATE:.2f} s: take a longer one"
        )
    if not np.isfinite(x).all():
        raise SpeechError("expected finite samples, got NaN or infinity: check where the recording comes from")
    if audible and np.abs(x).max() < SILENCE:
        raise SpeechError(
            "expected a recording of a voice, got silence (every sample below -60 dB): check the microphone or the file"
        )
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
