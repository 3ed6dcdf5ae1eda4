"""What a module declares about itself, held to for every registered module: timing, look-ahead, capturable steps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from speech.streaming.frames import Frames, Place
from speech.streaming.timing import phase_for
from tests.streaming.registry import REGISTRY
from tests.streaming.test_contract import whole


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
    x = torch.randn(case.longest, *case.shape)
    seen = False
    with torch.inference_mode():
        (before,) = whole(module, [x])
        for i in range(case.longest // 2, min(case.longest, case.longest // 2 + 4 * module.grain)):
            other = x.clone()
            other[i] += 3.0 * torch.randn(case.shape)
            (after,) = whole(module, [other])
            changed = ((after - before).abs().reshape(len(before), -1).amax(1) > 1e-6 * before.abs().max()).nonzero()
            first = int(changed[0]) if len(changed) else len(before)
            assert first >= module.first(i)
            seen = seen or first == module.first(i)
    assert seen or not case.tight
