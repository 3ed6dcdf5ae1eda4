"""Steps captured in CUDA graphs give what they give uncaptured."""

from __future__ import annotations

import copy

import pytest
import torch

from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import prepared
from speech.streaming.engine.host import Regular
from speech.streaming.lane import Call, Lane
from speech.streaming.timing import phase_for
from tests.streaming.registry import REGISTRY

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")

SLOTS, STEPS = 8, 6


@pytest.mark.parametrize("name", ["encoder (6, 2)", "encoder sliding (6, 1)", "fastconformer (6, 2)", "lstm 3"])
@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_a_replayed_step_equals_an_eager_one(name: str, rows: int) -> None:
    case = REGISTRY[name]
    module = copy.deepcopy(case.module).cuda()
    phase, chunk = phase_for(module), module.grain
    eager, captured = Lane(module, SLOTS), Lane(module, SLOTS)
    step = Regular(captured, chunk, phase, case.shape, torch.float32, 1.0, name)
    cost = prepared(step, EngineConfig(), SLOTS)
    assert list(cost.seconds) == [size for size in EngineConfig().buckets if size <= SLOTS]
    assert set(captured.graphs) == {(size, chunk, phase) for size in cost.seconds}
    seats = [lane.open() for lane in (eager, captured) for _ in range(rows)]
    x = torch.randn(STEPS, rows, chunk, *case.shape)
    for at in range(STEPS):
        calls = [
            Call(seat, x[at, i % rows], phase + at * chunk, stop=phase + STEPS * chunk - 3, phase=phase)
            for i, seat in enumerate(seats)
        ]
        plain, replayed = eager.run(calls[:rows]), captured.run(calls[rows:], EngineConfig().bucket(rows))
        torch.testing.assert_close(torch.stack(replayed), torch.stack(plain), rtol=1e-4, atol=1e-4)
    assert captured.arena.free == SLOTS - rows


def test_what_cannot_be_captured_runs_without_a_graph_and_says_so() -> None:
    module = copy.deepcopy(REGISTRY["lstm 1"].module).cuda()
    module.step = lambda frames, state, slots, step=module.step: step(
        frames.like(frames.data + 0 * frames.data.sum().item()), state, slots
    )
    lane = Lane(module, 2)
    with pytest.warns(UserWarning, match="without graphs"):
        prepared(Regular(lane, 2, 0, REGISTRY["lstm 1"].shape, torch.float32, 1.0, "lstm"), EngineConfig(), 2)
    seat = lane.open()
    assert lane.run([Call(seat, torch.zeros(2, 6), 0)], 1)[0].shape == (2, 5)
