"""The generic tests that hold every streamable module to the contract of docs/architecture.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.streaming.arena import Arena
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import Streaming
from speech.streaming.timing import phase_for
from tests.streaming.case import Case
from tests.streaming.registry import REGISTRY

TOLERANCE = 1e-5
JUNK = float("nan")


@dataclass(eq=False)
class Live:
    """A stream: its whole input, where it lies and how far it has come, and its outputs."""

    x: Tensor  # [n, *shape]
    total: int
    position: int
    slot: int = -1
    outs: list[Tensor] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return bool(self.outs) and sum(map(len, self.outs)) >= self.total


class Bench:
    """Streams that come and go in the slots of one arena, stepped in chunks of changing size beside one another."""

    def __init__(self, case: Case, lengths: list[int], phase: int, rng: Random) -> None:
        self.module, self.chunks, self.phase, self.rng = case.module, case.chunks, phase, rng
        self.arena = Arena(self.module, 3)
        self.arena.buffer.random_(0, 256)  # what an earlier stream left behind must not matter
        slots = [self.arena.open() for _ in range(3)]
        rng.shuffle(slots)
        for slot in slots:
            self.arena.close(slot)
        self.streams = [Live(torch.randn(n, *case.shape), self.module.total(n), phase) for n in lengths]

    def run(self) -> list[Tensor]:
        """All outputs of every stream: at most two at a time, so that slots are used again and one is always idle."""
        waiting, live = list(self.streams), []
        while waiting or live:
            if waiting and len(live) < 2 and (not live or self.rng.random() < 0.5):
                live.append(waiting.pop(0))
                live[-1].slot = self.arena.open()
            self.step(self.rng.sample(live, self.rng.randint(1, len(live))), self.rng.choice(self.chunks))
            if self.rng.random() < 0.2:
                self.move(self.rng.choice(live))
            for stream in [s for s in live if s.done]:
                self.arena.close(stream.slot)
                live.remove(stream)
        return [torch.cat(s.outs) for s in self.streams]

    def step(self, now: list[Live], count: int) -> None:
        """One chunk of `count` frames for the streams in `now`."""
        chunk = torch.full((len(now), count, *now[0].x.shape[1:]), JUNK)
        stops = []
        for row, stream in zip(chunk, now, strict=True):
            first, last = max(stream.position, 0), min(stream.position + count, len(stream.x))
            if first < last:
                row[first - stream.position : last - stream.position] = stream.x[first:last]
            ended = stream.position + count > len(stream.x)
            stops.append(len(stream.x) if ended or self.rng.random() < 0.3 else OPEN)
        start, slots = torch.tensor([s.position for s in now]), torch.tensor([s.slot for s in now])
        idle = [slot for slot in range(self.arena.slots) if slot not in slots.tolist()]
        before = self.arena.buffer[idle].clone()
        place = Place(start, torch.tensor(stops), count, self.phase)
        y = self.module.step(Frames(chunk, place), self.arena.state, slots)
        assert torch.equal(self.arena.buffer[idle], before), "an idle slot changed"
        assert y.data.shape[1] == y.place.count == count * self.module.up // self.module.down
        assert y.place.phase == self.module.first(self.phase)
        for data, index, stream in zip(y.data, y.place.index, now, strict=True):
            stream.outs.append(data[(index >= 0) & (index < stream.total)])
            stream.position += count

    def move(self, stream: Live) -> None:
        """Take a stream out as bytes and put it into another slot."""
        saved, old = self.arena.save(stream.slot), stream.slot
        stream.slot = self.arena.open()
        self.arena.load(stream.slot, saved)
        self.arena.close(old)
        self.arena.buffer[old].random_(0, 256)


def whole(module: Streaming, streams: list[Tensor]) -> list[Tensor]:
    """The outputs of whole signals, computed as one batch with junk behind the shorter ones."""
    lengths = torch.tensor([len(x) for x in streams])
    batch = torch.full((len(streams), max(int(lengths.max()), 1), *streams[0].shape[1:]), JUNK)
    for row, x in zip(batch, streams, strict=True):
        row[: len(x)] = x
    y = module(Frames.whole(batch, lengths))
    assert y.place.stop.tolist() == [module.total(len(x)) for x in streams]
    return [row[: module.total(len(x))] for row, x in zip(y.data, streams, strict=True)]


def worst(got: list[Tensor], expected: list[Tensor]) -> float:
    """The greatest difference, relative to the greatest value."""
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape and a.isfinite().all() and b.isfinite().all()
    scale = max((float(b.abs().max()) for b in expected if b.numel()), default=0.0)
    return max((float((a - b).abs().max()) for a, b in zip(got, expected, strict=True) if b.numel()), default=0.0) / (
        scale or 1.0
    )


def phases(module: Streaming) -> list[int]:
    """Legal phases: the best one, the one before, and where chunks need not lie on a grid any other."""
    best = phase_for(module)
    return [best, best - module.grain] + (list(range(-module.down, 1)) if module.grain == module.down else [])


@pytest.mark.parametrize("name", REGISTRY)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_chunks_equal_the_whole_signal(name: str, data: st.DataObject) -> None:
    case = REGISTRY[name]
    length = st.one_of(st.sampled_from([0, 1]), st.integers(2, 9), st.integers(10, case.longest))
    lengths = data.draw(st.lists(length, min_size=2, max_size=4), "lengths")
    phase = data.draw(st.sampled_from(phases(case.module)), "phase")
    torch.manual_seed(len(lengths))
    with torch.inference_mode():
        bench = Bench(case, lengths, phase, data.draw(st.randoms(use_true_random=False), "schedule"))
        assert worst(bench.run(), whole(case.module, [s.x for s in bench.streams])) < TOLERANCE


@pytest.mark.parametrize("name", REGISTRY)
def test_a_stream_alone_equals_the_stream_in_a_padded_batch(name: str) -> None:
    case = REGISTRY[name]
    torch.manual_seed(0)
    streams = [torch.randn(n, *case.shape) for n in (7, case.longest, 1, 0)]
    with torch.inference_mode():
        alone = [whole(case.module, [x])[0] for x in streams]
        assert worst(whole(case.module, streams), alone) < TOLERANCE
