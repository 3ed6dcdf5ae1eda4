"""Sample rate conversion that carries its state from block to block."""

from __future__ import annotations

from numbers import Real
from typing import Literal

import numpy as np
import soxr

from speech.errors import SpeechError

SLOWEST, FASTEST = 100, 10_000_000  # Hz: beyond lies damage, and conversion would take all memory or all day

Quality = Literal["VHQ", "HQ", "MQ", "LQ", "QQ"]


class Resampler:
    """One mono stream from `from_rate` to `to_rate` Hz; samples pass through untouched when the two are equal.

    What comes out, flush included, does not depend on how the input is cut, and n samples give round(n * to / from).
    `quality` is soxr's; "HQ" holds back some 20 to 70 ms of sound until more comes or `flush`, "QQ" less than 1 ms.
    Raises SpeechError for a rate that is not between 100 Hz and 10 MHz.
    """

    def __init__(self, from_rate: float, to_rate: float, quality: Quality = "HQ") -> None:
        for rate in (from_rate, to_rate):
            if not isinstance(rate, Real) or not SLOWEST <= rate <= FASTEST:
                raise SpeechError(
                    f"expected a sample rate of {SLOWEST} to {FASTEST} Hz, got {rate!r}: check where it comes from"
                )
        self.from_rate, self.to_rate = from_rate, to_rate
        self._stream = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality=quality)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take any number of samples [n]; returns the converted ones that are ready, float32 [m], perhaps none.

        Raises SpeechError for what is not one channel.
        """
        x = np.asarray(samples, dtype=np.float32)
        if x.ndim != 1:
            raise SpeechError(f"expected mono samples of shape [n], got {list(x.shape)}: average the channels first")
        return x if self._stream is None else self._stream.resample_chunk(x)

    def flush(self) -> np.ndarray:
        """End the stream; returns the rest, float32 [m]. Another stream may follow."""
        rest = np.zeros(0, dtype=np.float32)
        if self._stream is not None:
            rest = self._stream.resample_chunk(rest, last=True)
            self._stream.clear()
        return rest


def resample(samples: np.ndarray, from_rate: float, to_rate: float, quality: Quality = "HQ") -> np.ndarray:
    """A whole mono signal [n] from `from_rate` to `to_rate` Hz, float32 [m]."""
    resampler = Resampler(from_rate, to_rate, quality)
    return np.concatenate([resampler.push(samples), resampler.flush()])
