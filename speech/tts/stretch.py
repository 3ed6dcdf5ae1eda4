"""Faster and slower speech: mel frames resampled in time."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from speech.errors import SpeechError

SLOWEST, FASTEST = 0.25, 4.0


def checked_speed(speed: float) -> float:
    """`speed` itself. Raises SpeechError unless it is a number between 0.25 and 4."""
    if not isinstance(speed, Real) or not SLOWEST <= speed <= FASTEST:
        raise SpeechError(f"expected a speed of {SLOWEST} to {FASTEST}, got {speed!r}: 1 is the voice's own")
    return speed


class Stretch:
    """Mel frames at changing speeds, linearly interpolated; pitch stays, as it lies in the frames themselves.

    Frame i lies at the time that the frames before it take, each 1 / speed; output n is read at time n. At speed 1
    every frame passes as it is. What comes out does not depend on how the input was cut.
    """

    def __init__(self) -> None:
        self.made = 0  # output frames
        self._time, self._step = 0.0, 0.0  # of the last frame that came: when, and how long it takes
        self._last: Tensor | None = None

    def push(self, mel: Tensor, speeds: list[float]) -> tuple[Tensor, list[float]]:
        """Take frames [t, bands], each with its speed.

        Returns the frames that can be read, [t', bands], and the time of each frame taken, counted in output frames.
        """
        times, outs = [], []
        for frame, speed in zip(mel, speeds, strict=True):
            time, last = self._time + self._step, frame if self._last is None else self._last
            while self.made <= time + 1e-6:
                share = (self.made - self._time) / self._step if self._step else 1.0
                outs.append(frame if abs(share - 1) < 1e-6 else torch.lerp(last, frame, share))
                self.made += 1
            self._last, self._time, self._step = frame, time, 1 / speed
            times.append(time)
        return (torch.stack(outs) if outs else mel[:0]), times
