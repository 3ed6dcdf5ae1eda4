"""From noise to mel frames: Euler's method with guidance, and mean-flow steps, whole or chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.flow.estimator import Estimator
from speech.streaming.attention import chosen
from speech.streaming.frames import Frames, Place
from speech.streaming.module import Count, Device, State, Streaming

NOISE_FRAMES = 15000
"""Frames of start noise that are drawn: 300 s. How they go on after that, see `noise_at`."""


@dataclass(frozen=True)
class Sampling:
    """How noise becomes mel frames.

    steps: evaluations of the network, each with a state of its own. guidance: v = (1 + guidance) v(conditions) -
    guidance v(nothing) (Ho and Salimans 2022, arXiv 2207.12598); 0 takes half the work. mean: the network gives average
    velocities over intervals of time that runs from 1, noise, to 0 (Geng et al. 2025, arXiv 2505.13447); otherwise
    instantaneous ones of time that runs from 0 to 1. times: the steps + 1 times (default: a cosine schedule, or evenly
    spaced ones for mean flows). temperature: standard deviation of the start noise; the smaller, the nearer to the mean
    of what could be made (Popov et al. 2021, arXiv 2105.06337): clearer where the network is unsure, and smoother.
    """

    steps: int = 10
    guidance: float = 0.7
    mean: bool = False
    times: tuple[float, ...] | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        fits = not self.times or len(self.times) == self.steps + 1
        if self.steps < 1 or min(self.guidance, self.temperature) < 0 or not fits:
            raise SpeechError(
                "expected at least one step, no negative guidance or temperature and one time more than steps, got "
                f"{self}: correct them"
            )

    def grid(self) -> Tensor:
        """The times, [steps + 1]."""
        if self.times:
            return torch.tensor(self.times, dtype=torch.float32)
        if self.mean:
            return torch.linspace(1, 0, self.steps + 1)
        return 1 - torch.cos(torch.linspace(0, 1, self.steps + 1) * 0.5 * math.pi)

    def intervals(self) -> tuple[Tensor, Tensor]:
        """Time at the start of every step and time that it takes, each [steps]; time is summed up in float32."""
        grid = self.grid()
        starts, t = [], grid[0]
        for end in grid[1:]:
            starts.append(t)
            t = t + (end - t)
        start = torch.stack(starts)
        return start, grid[1:] - start


def start_noise(channels: int, frames: int = NOISE_FRAMES, seed: int = 0) -> Tensor:
    """The noise that frame i of every stream starts from, [frames, channels].

    It depends on the frame's index alone, so a longer signal begins with what a shorter one has. With the defaults it
    is the one that CosyVoice 2 and 3 draw, channel by channel.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(channels, frames, generator=generator, device="cpu").T.contiguous()


def noise_at(noise: Tensor, index: Tensor) -> Tensor:
    """What frames start from, by their index in the stream. noise: [n, mel]; index: [b, t] -> [b, t, mel].

    Row i modulo n, moved on by a channel each time round, so that nothing comes again before n * mel frames.
    """
    frames, channels = noise.shape
    around = torch.div(index, frames, rounding_mode="floor")[..., None]
    moved = (torch.arange(channels, device=index.device) + around).remainder(channels)
    return noise[index.remainder(frames)[..., None], moved]


class Solver(Streaming):
    """Conditions [b, t, mu | speaker | prompt] (each `mel` channels) -> mel frames [b, t, mel].

    Every step of the solver is a network with a past of its own: the state holds one estimator state for each step and
    each row of the guidance pair. noise: [n, mel], see `noise_at`.
    """

    noise: Tensor
    starts: Tensor
    ends: Tensor

    def __init__(self, estimator: Estimator, noise: Tensor, sampling: Sampling) -> None:
        super().__init__()
        self.estimator, self.sampling = estimator, sampling
        self.register_buffer("noise", noise, persistent=False)
        starts, spans = sampling.intervals()
        self.register_buffer("starts", starts.to(noise.device), persistent=False)
        self.register_buffer("ends", (starts + spans).to(noise.device), persistent=False)
        self.spans: list[float] = spans.tolist()
        self.rows = ("guided", "free") if sampling.guidance else ("guided",)

    @property
    def grain(self) -> int:
        return self.estimator.grain

    def first(self, start: int) -> int:
        return self.estimator.first(start)

    def total(self, count: Count) -> Count:
        return self.estimator.total(count)

    def forward(self, frames: Frames) -> Frames:
        place = self._doubled(frames.place)
        return self._solved(frames, lambda _, x, time: self.estimator(Frames(x, place), time))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {
            f"{i}": {row: self.estimator.init_state(slots, device, dtype) for row in self.rows}
            for i in range(self.sampling.steps)
        }

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        place, both = self._doubled(frames.place), slots.repeat(len(self.rows))

        def evaluate(i: int, x: Tensor, time: list[Tensor]) -> Frames:
            trees = [state[f"{i}"][row] for row in self.rows]
            return self.estimator.step(Frames(x, place), joined(trees), both, time)

        return self._solved(frames, evaluate)

    def _doubled(self, place: Place) -> Place:
        """The place of the batch in which every row stands once with its conditions and once without."""
        n = len(self.rows)
        return Place(place.start.repeat(n), place.stop.repeat(n), place.count, place.phase)

    def _solved(self, frames: Frames, evaluate: Callable[[int, Tensor, list[Tensor]], Frames]) -> Frames:
        """`evaluate(i, x, time)`: the network's output in the i-th step for the doubled batch x [n * b, t, 4 * mel]."""
        n, given = len(self.rows), frames.data
        conditions = torch.cat([given, *[torch.zeros_like(given)] * (n - 1)])
        x = self.sampling.temperature * noise_at(self.noise, frames.place.index).to(given.dtype)
        times = self.estimator.modulate(self.starts, self.ends if self.sampling.mean else None)
        for i, span in enumerate(self.spans):
            rows = torch.cat([x.repeat(n, 1, 1), conditions], -1)
            v = evaluate(i, rows, [time[i : i + 1] for time in times]).data
            x = x + span * self._guided(v)
        return frames.like(x)

    def _guided(self, v: Tensor) -> Tensor:
        """[n * b, t, mel] -> [b, t, mel]."""
        if len(self.rows) == 1:
            return v
        guided, free = v.chunk(2)
        return (1 + self.sampling.guidance) * guided - self.sampling.guidance * free


class Rows:
    """State tensors [slots, ...] of two row sets that step as one batch, for reading and writing by slot.

    The first half of the slots asked for are those of the first tensor, the second half those of the second.
    """

    def __init__(self, parts: list[Tensor]) -> None:
        self.parts = parts

    @property
    def shape(self) -> torch.Size:
        """Of each part."""
        return self.parts[0].shape

    @property
    def dtype(self) -> torch.dtype:
        """Of all parts."""
        return self.parts[0].dtype

    def index_select(self, dim: int, slots: Tensor) -> Tensor:
        """As of one tensor; dim: 0, the slots."""
        halves = zip(self.parts, slots.chunk(len(self.parts)), strict=True)
        return torch.cat([chosen(part, half) for part, half in halves])

    def __getitem__(self, slots: Tensor) -> Tensor:
        return self.index_select(0, slots)

    def __setitem__(self, index: Tensor | tuple[Any, ...], value: Tensor) -> None:
        n = len(self.parts)
        index = index if isinstance(index, tuple) else (index,)
        cut = [i.chunk(n) if isinstance(i, Tensor) else [i] * n for i in index]
        for part, value_half, *place in zip(self.parts, value.chunk(n), *cut, strict=True):
            part[tuple(place)] = value_half


def joined(trees: list[State]) -> State:
    """State trees of one layout as one tree that is read and written by the slots of both, one after the other."""
    if len(trees) == 1:
        return trees[0]
    return {
        name: joined([tree[name] for tree in trees]) if isinstance(value, dict) else Rows([t[name] for t in trees])
        for name, value in trees[0].items()
    }
