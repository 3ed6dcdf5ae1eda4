"""The converter's network and its parts, small."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from speech.flow.solver import Sampling, start_noise
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential, State, Streaming
from speech.vc.advance import Advance
from speech.vc.conditions import Conditions
from speech.vc.interpolate import Interpolate
from speech.vc.matching import Colour, MatchConfig, TuneMatch
from speech.vc.network import ConverterConfig, ConverterNetwork
from speech.vc.timbre import Match, PromptConfig, Target, Timbre, TokenConfig
from tests.streaming.case import Case, D

TWO_STEPS = Sampling(2, 0.0, True, (1.0, 0.8, 0.0))
FIRST = ConverterConfig(
    content=6,
    speaker=3,
    mel=5,
    rate=2,
    timbre=PromptConfig(layers=2, heads=2, hidden=8),
    dim=16,
    layers=2,
    head_dim=4,
    chunk=4,
    past=(2,),
    sampling=TWO_STEPS,
)
SECOND = replace(
    FIRST, timbre=TokenConfig(tokens=3, heads=2, inner=8), chunk=6, past=(2, 1), ahead=(2, 0), history=False
)
BOTH = replace(FIRST, ahead=(2, 4))
"""History and a look-ahead in every layer."""
LATE = replace(FIRST, given=4, advance=2)
"""Content of another size, two features late."""


def _solver(config: ConverterConfig) -> Streaming:
    return ConverterNetwork(config).solver(noise=start_noise(config.mel, 30))


class Given(Conditions):
    """All streams have one target: what was written into their state is what whole signals are given."""

    def __init__(self, timbre: Timbre, speaker: int, room: int, target: Target) -> None:
        super().__init__(timbre, speaker, room)
        self.target = target

    def forward(self, frames: Frames) -> Frames:
        return frames.like(self.timbre.conditions(frames.data, self.target))

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        self.target.write(state, slots)
        return super().step(frames, state, slots)


def _pipeline(config: ConverterConfig) -> Streaming:
    return ConverterNetwork(config).pipeline(9)


def _given(config: ConverterConfig) -> Streaming:
    network, generator = ConverterNetwork(config), torch.Generator().manual_seed(1)
    with torch.no_grad():
        speaker, mel = torch.randn(1, 3, generator=generator), torch.randn(1, 7, 5, generator=generator)
        stages = dict(network.pipeline(9).named_children())
        return Sequential(**stages | {"timbre": Given(network.timbre, 3, 9, network.target(speaker, mel))})


class Matched(Sequential):
    """What is matched, of one target for all: it is in the state of streams, and whole signals begin with it."""

    def __init__(self) -> None:
        super().__init__(tune=TuneMatch(MatchConfig(prior=0.1), 0.04), colour=Colour(5))
        self.match = Match(torch.tensor(0.7), torch.linspace(0.8, 1.3, 5), torch.linspace(-1, 1, 5))

    def forward(self, frames: Frames) -> Frames:
        data = frames.data
        state = self.init_state(len(data), data.device, data.dtype)
        return self.step(frames, state, torch.arange(len(data), device=data.device))

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        self.match.write(state, slots)
        return super().step(frames, state, slots)


CASES: dict[str, Case] = {
    "advance": Case(lambda: Advance(3)),
    "tune match": Case(lambda: TuneMatch(MatchConfig(), 0.04), (5,)),
    "colour": Case(lambda: Colour(5), (5,)),
    "matching": Case(Matched, (5,)),
    "interpolate": Case(lambda: Interpolate(D, 4)),
    "chunk solver": Case(partial(_solver, FIRST), (9,)),
    "chunk solver ahead": Case(partial(_solver, SECOND), (9,)),
    "chunk solver with history, ahead": Case(partial(_solver, BOTH), (9,)),
    "converter": Case(partial(_given, FIRST), (6,)),
    "converter ahead": Case(partial(_given, SECOND), (6,)),
    "converter of late content": Case(partial(_given, LATE), (4,)),
    "converter to nobody": Case(partial(_pipeline, FIRST), (6,)),
}
