"""Silence that need not be computed."""

from __future__ import annotations

import numpy as np


class Gate:
    """Holds back silence once it has lasted longer than the network remembers: converting it would change nothing.

    level: in dB of full scale; a block below it is silent. settle: seconds of silence before it closes. pre_roll:
    seconds before the first sound that are let through with it. chunk: samples that the network takes at a time; what
    is left out is a multiple of them, so that after silence chunks begin where they would have begun without the gate.
    """

    def __init__(self, sample_rate: int, chunk: int, level: float, settle: float, pre_roll: float = 0.1) -> None:
        self._chunk, self._power = chunk, 10 ** (level / 10)
        self._settle, self._kept = round(settle * sample_rate), round(pre_roll * sample_rate)
        self._quiet, self._begin = 0, 0
        self._held = np.zeros(0, np.float32)

    @property
    def closed(self) -> bool:
        """Whether silence is held back."""
        return self._quiet >= self._settle

    def push(self, position: int, samples: np.ndarray) -> tuple[int, np.ndarray] | None:
        """Take a block [n] that begins at sample `position`; returns what is to be converted now, in the same form.

        A block that does not continue what is held back begins anew.
        """
        silent = float(np.mean(np.square(samples), dtype=np.float64)) < self._power  # false for NaN: not ours to judge
        self._quiet = self._quiet + len(samples) if silent else 0
        if position != self._begin + len(self._held):
            self._held = self._held[:0]
        if not len(self._held):
            self._begin = position
        joined = np.concatenate([self._held, samples]) if len(self._held) else samples
        if not self.closed:
            self._held = self._held[:0]
            return self._begin, joined
        if len(joined) >= self._kept + self._chunk:
            joined, self._begin = joined[self._chunk :], self._begin + self._chunk
        self._held = joined
        return None
