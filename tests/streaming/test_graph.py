"""Steps captured in CUDA graphs, or without a card on a tape that does what they do, give what they give uncaptured."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import speech
from speech.streaming.engine.config import EngineConfig
from speech.streaming.engine.engine import prepared
from speech.streaming.engine.host import Regular
from speech.streaming.frames import OPEN
from speech.streaming.lane import Call, Lane
from speech.streaming.timing import phase_for
from tests.streaming.engine.hosted import CARD, MODELS
from tests.streaming.registry import REGISTRY
from tests.streaming.tape import Tape

SLOTS, STEPS = 8, 6
BUCKETS = (1, 2, 4, 8)
TURNS = ([3], [5, 0], [2, 4, 1, 3], [0, 5, 2], [7, 6, 5, 4, 3, 2, 1, 0], [1], [4, 7, 0, 5, 3])
"""Slots that step together, in batches that fill a bucket and batches that do not."""

HELD = [(model, name) for model, entry in MODELS.items() for name, held in entry.steps.items() if held]


@cache
def _regular(model: str, device: torch.device) -> dict[str, Regular]:
    steps = MODELS[model].host(device).regular
    assert len({step.name for step in steps}) == len(steps)
    return {step.name: step for step in steps}


def _held(lane: Lane) -> bool:
    """Whether the steps of a lane would be captured if it lay on a card."""
    moved = copy.copy(lane)
    moved.device, moved.padded = torch.device("cuda"), True
    return moved.captures


@pytest.mark.parametrize("model", MODELS)
def test_every_model_tells_its_regular_steps(model: str) -> None:
    found = {name: _held(step.lane) for name, step in _regular(model, torch.device("cpu")).items()}
    assert found == MODELS[model].steps


def test_no_regular_step_is_forgotten() -> None:
    """All that the package ever names one is among them."""
    known = {name.rstrip(" 0123456789") for entry in MODELS.values() for name in entry.steps}
    assert {*_named()} == known


def _named() -> Iterator[str]:
    """Names in all calls of `Regular`, the numbers in them left out."""
    texts = [path.read_text() for path in Path(speech.__file__).parent.rglob("*.py")]
    for text in texts:
        for node in ast.walk(ast.parse(text)) if "Regular(" in text else []:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Regular":
                name = node.args[-1].values[0] if isinstance(node.args[-1], ast.JoinedStr) else node.args[-1]
                assert isinstance(name, ast.Constant) and isinstance(name.value, str)
                yield name.value.strip()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=CARD)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Where steps are captured: in graphs on a card, on tapes elsewhere."""
    if request.param == "cpu":
        monkeypatch.setattr("speech.streaming.lane.Graph", Tape)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    return torch.device(request.param)


@pytest.mark.parametrize(("model", "name"), HELD, ids=map(": ".join, HELD))
def test_a_replayed_step_of_every_model_equals_an_eager_one(model: str, name: str, device: torch.device) -> None:
    step = _regular(model, device)[name]
    eager, captured = (_beside(step.lane) for _ in range(2))
    for rows in reversed(BUCKETS):
        captured.capture(rows, step.count, step.phase, step.shape, step.dtype)
    seats = [[lane.open() for _ in range(SLOTS)] for lane in (eager, captured)]
    taken, source = [0] * SLOTS, torch.Generator().manual_seed(0)
    for turn in TURNS:
        data = _inputs(step, len(turn), source)
        before, answers = captured.arena.buffer[:SLOTS].clone(), []
        for lane, own in zip((eager, captured), seats, strict=True):
            calls = [_call(step, own[slot], row, taken[slot]) for slot, row in zip(turn, data, strict=True)]
            answers.append(lane.run(calls, EngineConfig(buckets=BUCKETS).bucket(len(turn))))
        _assert_same(*answers)
        for one, other in zip(*(tree_leaves(lane.arena.state) for lane in (captured, eager)), strict=True):
            torch.testing.assert_close(one[turn], other[turn], rtol=1e-4, atol=1e-4)
        others = [slot for slot in range(SLOTS) if slot not in turn]
        assert torch.equal(captured.arena.buffer[others], before[others])
        taken = [n + (slot in turn) for slot, n in enumerate(taken)]
    assert len(captured.graphs) == len(BUCKETS) and not eager.graphs


def _beside(lane: Lane) -> Lane:
    """Room for `SLOTS` streams of the same steps, whose batches can be filled up."""
    return Lane(lane.module, SLOTS, device=lane.device, dtype=lane.dtype, padded=True, answers=lane.answers)


def _inputs(step: Regular, rows: int, source: torch.Generator) -> Tensor:
    """Noise, or ids of which every vocabulary has some: [rows, count, ...]."""
    shape = (rows, step.count, *step.shape)
    if step.dtype.is_floating_point:
        return torch.randn(shape, generator=source).to(step.dtype)
    return torch.randint(2, shape, generator=source)


def _call(step: Regular, seat: Any, data: Tensor, taken: int) -> Call:
    """The stream's step after so many; in odd slots streams end within their second."""
    stop = step.phase + 2 * step.count - 1 if seat.slot % 2 else OPEN
    return Call(seat, data, step.phase + taken * step.count, stop, step.phase)


def _assert_same(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Answers of frames, or of tokens."""
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        else:
            assert [token[:2] for token in one] == [token[:2] for token in other]
            assert [token.logprob for token in one] == pytest.approx([token.logprob for token in other], abs=1e-4)


@pytest.mark.parametrize(
    "step",
    [
        lambda data, numbers: data * data.sum().item(),
        lambda data, numbers: data if data.sum() > 0 else -data,
        lambda data, numbers: data[data > 0],
        lambda data, numbers: data.nonzero(),
        lambda data, numbers: data + torch.tensor([1.0, 2.0, 3.0]),
    ],
)
def test_a_tape_refuses_what_no_graph_holds(step: Callable[[Tensor, Tensor], Any]) -> None:
    with pytest.raises(RuntimeError, match=r"asks the device for a value|values of the host"):
        Tape(step, torch.ones(3), torch.arange(3))


def test_a_tape_repeats_what_python_decided_once() -> None:
    factors, kept = iter(range(1, 9)), torch.zeros(3)
    tape = Tape(
        lambda data, numbers: kept.index_add_(0, numbers, next(factors) * data), torch.zeros(3), torch.arange(3)
    )
    x, last = torch.tensor([1.0, 2.0, 3.0]), next(factors) - 1
    for turn, order in enumerate(([0, 1, 2], [2, 1, 0]), 1):
        assert tape.replay(x, torch.tensor(order)) is kept and kept[1] == 2 * last * turn
    assert kept.tolist() == [4 * last, 4 * last, 4 * last]


@CARD
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


@CARD
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
