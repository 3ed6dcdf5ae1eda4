"""Conversion in an engine: many live streams, each into a voice of its own, stepped together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from speech.errors import SpeechError
from speech.streaming.engine.host import HostedLive, Regular, Yielding
from speech.streaming.lane import Lane
from speech.vc.session import ConversionStream, Setup
from speech.vc.timbre import Target

BACKLOG = 30.0
"""Seconds of sound that may wait in a stream."""


class HostedConversion(HostedLive[ConversionStream]):
    """A live stream of samples to samples [m] float32, `delay` of them late: all that is ready, as soon as it is."""

    @property
    def target(self) -> str:
        """The name of the voice that comes out; set in any thread, it is heard from the next step on."""
        return self.stream.target

    @target.setter
    def target(self, name: str) -> None:
        self.stream.target = name

    @property
    def delay(self) -> int:
        """Output samples by which it is late, the first of which are silence."""
        return self.stream.delay

    def feeding(self, item: np.ndarray) -> Yielding:
        samples = yield from self.stream.feeding(item)
        if len(samples):
            yield samples

    def ending(self) -> Yielding:
        samples = yield from self.stream.ending()
        if len(samples):
            yield samples


class ConverterHost:
    """Room for `slots` streams in each of some setups; the first one's rates are the default.

    targets: what the network knows of a target, by its name. default: names the one that streams begin with.
    """

    def __init__(
        self, setups: Sequence[Setup], targets: Callable[[str], Target], default: Callable[[], str], slots: int
    ) -> None:
        self._targets, self._default = targets, default
        self.setups = {(setup.sample_rate, setup.output_rate): (setup, setup.lane(slots)) for setup in setups}
        self.backlog = max(round(BACKLOG * setup.sample_rate) for setup in setups)
        self.seconds = min(setup.chunk / setup.sample_rate for setup in setups)
        self.regular = [regular(setup, lane) for setup, lane in self.setups.values()]

    def prepare(self, *, target: str | None = None, **_: object) -> None:
        """Have what the network knows of the target made, with which streams then begin at once."""
        self._targets(self._default() if target is None else target)

    def open(
        self, *, sample_rate: int | None = None, output_rate: int | None = None, target: str | None = None
    ) -> HostedConversion:
        """sample_rate, output_rate: in Hz, a pair that there is room for (default: the first pair's).

        target: the name of one that the converter has (default: its default).
        """
        usual = next(iter(self.setups))
        rates = usual[0] if sample_rate is None else sample_rate, usual[1] if output_rate is None else output_rate
        if rates not in self.setups:
            known = ", ".join(f"{a} to {b}" for a, b in self.setups)
            raise SpeechError(f"expected sample rates of {known} Hz, got {rates[0]} to {rates[1]}: no other is hosted")
        setup, lane = self.setups[rates]
        return HostedConversion(
            ConversionStream(setup, self._targets, self._default() if target is None else target, lane)
        )


def regular(setup: Setup, lane: Lane) -> Regular:
    """The step that a stream takes with every chunk."""
    return Regular(lane, setup.chunk, setup.phase, (), torch.float32, setup.sample_rate / setup.chunk, "conversion")
