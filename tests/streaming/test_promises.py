"""What every registered module is held to beside the contract: its declared timing and look-ahead, steps that can be
captured, streams of any age."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from speech.streaming.arena import Arena
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import Streaming
from speech.streaming.timing import phase_for
from tests.streaming.registry import REGISTRY
from tests.streaming.test_contract import whole

LAP = 720720
"""A multiple of 1 .. 16, so of every small ring and lap. As frames of 20 ms, fifty of them last for eight days."""


@pytest.mark.parametrize("name", REGISTRY)
def test_step_never_looks_at_a_value(name: str) -> None:
    """So that it can be captured in a CUDA graph and exported: tensors without values are enough for it."""
    case = REGISTRY[name]
    module, count, phase = copy.deepcopy(case.module), case.chunks[1], phase_for(case.module)
    with FakeTensorMode(allow_non_fake_inputs=True):
        start = torch.zeros(2, dtype=torch.long)
        frames = Frames(torch.zeros(2, count, *case.shape), Place(start, start, count, phase))
        y = module.step(frames, module.init_state(3), start)
    assert y.data.shape[:2] == (2, count * module.up // module.down)


@pytest.mark.parametrize("name", REGISTRY)
def test_timing_is_consistent(name: str) -> None:
    module = REGISTRY[name].module
    grain, period = module.grain, module.grain * module.up // module.down
    assert grain * module.up % module.down == 0 and module.total(0) == 0
    for n in range(-grain, 3 * grain):
        assert module.first(n) <= module.first(n + 1)
        assert module.first(n + grain) == module.first(n) + period
        bound = -((module.look_ahead - n) * module.up // module.down)
        assert module.first(n) >= (bound if grain == module.down else bound - period)  # attention waits for its chunk
    for n in range(0, 3 * grain):
        assert max(module.first(n), 0) <= module.total(n) <= module.total(n + 1)
    lengths = torch.tensor([0, 1, 5, grain, 3 * grain, 1000])
    assert module.total(lengths).tolist() == [module.total(n) for n in lengths.tolist()]


@pytest.mark.parametrize("name", REGISTRY)
def test_an_impulse_changes_nothing_before_its_look_ahead(name: str) -> None:
    torch.manual_seed(0)
    case, module = REGISTRY[name], REGISTRY[name].module
    places = range(case.longest // 2, min(case.longest, case.longest // 2 + 4 * module.grain))
    x = torch.randn(case.longest, *case.shape).repeat(1 + len(places), *[1] * (1 + len(case.shape)))
    for row, at in zip(x[1:], places, strict=True):
        row[at] += 3.0 * torch.randn(case.shape)
    with torch.inference_mode():
        before, *after = whole(module, list(x))
    least = 1e-6 * before.abs().max()  # rows of one batch are not rounded quite alike, by 2e-7 here
    firsts = []
    for at, y in zip(places, after, strict=True):
        changed = ((y - before).abs().reshape(len(before), -1).amax(1) > least).nonzero()
        firsts.append(int(changed[0]) if len(changed) else len(before))
        assert firsts[-1] >= module.first(at)
    assert not case.tight or any(first == module.first(at) for at, first in zip(places, firsts, strict=True))


@pytest.mark.parametrize("name", REGISTRY)
def test_a_stream_does_not_wear_out(name: str) -> None:
    """Days after its beginning it gives what it gave hours after it: no position has lost its last digits."""
    case, rng = REGISTRY[name], torch.Generator().manual_seed(0)
    module = copy.deepcopy(case.module)
    for path, buffer in module.named_buffers():
        if path.endswith("noise"):  # which belongs to the place in the stream
            buffer.zero_()
    chunk = case.chunks[1]
    x = torch.randn(1, -(-case.longest // chunk) * chunk, *case.shape, generator=rng)
    young, old = (_output(module, x, chunk, age * module.grain * LAP) for age in (1, 50))
    torch.testing.assert_close(old, young, rtol=1e-5, atol=1e-5 * float(young.abs().max()))


@torch.inference_mode()
def _output(module: Streaming, x: Tensor, chunk: int, behind: int) -> Tensor:
    """What x [1, t, ...] becomes in a stream of which `behind` frames were silence."""
    phase, arena, slot, outs = phase_for(module), Arena(module, 1), torch.zeros(1, dtype=torch.long), []
    for at in range(0, x.shape[1], chunk):
        place = Place(torch.tensor([phase + behind + at]), torch.tensor([OPEN]), chunk, phase)
        outs.append(module.step(Frames(x[:, at : at + chunk], place), arena.state, slot).data)
    return torch.cat(outs, 1)
