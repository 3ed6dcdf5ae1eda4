from __future__ import annotations

from contextvars import Context
from copy import deepcopy
from dataclasses import fields, replace
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from speech.asr.greedy import RNNTGreedy, Token
from speech.kernels.transducer_greedy import (
    Cell,
    Rules,
    Search,
    Weights,
    transducer_greedy,
    transducer_greedy_reference,
)
from speech.streaming.frames import Frames, Place
from tests.asr.test_greedy import heads, plain, signal
from tests.kernels.tolerances import TOLERANCES

BOTH = pytest.mark.parametrize("decode", [transducer_greedy, transducer_greedy_reference])


def network(j: int, v: int, d: int, layers: int, dtype: torch.dtype, device: torch.device, seed: int = 1) -> Weights:
    """Random weights whose scores lie well apart."""
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng).to(device, dtype)

    cells = tuple(Cell(draw(4 * d, d), draw(4 * d, d), draw(4 * d)) for _ in range(layers))
    out_bias = draw(v)
    out_bias[-1] += 0.6 * (j - 1) ** 0.5  # the blank speaks often
    return Weights(draw(v, d), cells, draw(j, d), draw(j), draw(v, j), out_bias)


def search(weights: Weights, start: list[int], stop: list[int], size: int, turns: int, last: list[int]) -> Search:
    """Rows in the middle of a stream, their prediction network where random numbers put it."""
    rng, like = torch.Generator().manual_seed(5), weights.out
    layers, d = len(weights.cells), weights.cells[0].recurrent.shape[1]
    h, c = (torch.rand(len(start), layers, d, generator=rng).to(like) - 0.5 for _ in range(2))
    predicted = torch.randn(len(start), weights.out.shape[1], generator=rng).to(like)
    start_, stop_, last_ = (torch.tensor(x, device=like.device) for x in (start, stop, last))
    return Search.of(start_, stop_, size, last_, h, c, predicted, turns)


def copied(found: Search) -> Search:
    return replace(found, **{field.name: getattr(found, field.name).clone() for field in fields(found)})


@pytest.mark.parametrize(
    ("t", "j", "v", "d", "layers", "window", "restart"),
    [(1, 1, 2, 1, 1, 1, None), (3, 17, 70, 9, 2, 2, 3), (7, 70, 130, 3, 1, 3, None)],
)
@pytest.mark.usefixtures("poisoned")
def test_kernels_leave_every_row_where_the_reference_does(
    device: torch.device, t: int, j: int, v: int, d: int, layers: int, window: int, restart: int | None
) -> None:
    weights, rules = network(j, v, d, layers, torch.float32, device), Rules(window, 2, restart)
    acoustic = torch.randn(4, t, j, generator=torch.Generator().manual_seed(1)).to(device)
    ours = search(weights, [0, -1, 40, 50], [100, 100, 41, 50], t, 3, [0, -1, 38, 50])
    theirs, before, said = copied(ours), copied(ours), 0
    for _ in range(2):
        transducer_greedy(acoustic, weights, ours, rules)
        transducer_greedy_reference(acoustic, weights, theirs, rules)
        said += int(ours.count.sum())
        for field in fields(Search):
            x, y = getattr(ours, field.name), getattr(theirs, field.name)
            if field.name in ("tokens", "frames", "logprobs"):
                kept = torch.arange(3, device=device) < theirs.count[:, None]
                x, y = x.where(kept, 0), y.where(kept, 0)
            torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)
    assert torch.equal(ours.h[3], before.h[3]) and torch.equal(ours.predicted[3], before.predicted[3])
    assert int(ours.last[3]) == 50 and not int(ours.count[3])  # a row beyond its end rests
    assert said


@BOTH
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_token_is_the_best_and_has_its_probability(device: torch.device, dtype: torch.dtype, decode) -> None:  # type: ignore[no-untyped-def]
    weights = network(17, 131, 3, 1, dtype, device)
    weights.out_bias[-1] -= 100
    acoustic = torch.randn(5, 1, 17, generator=torch.Generator().manual_seed(2)).to(device, dtype)
    rows = search(weights, [0] * 5, [1] * 5, 1, 1, [-1] * 5)
    pairs = torch.relu(acoustic[:, 0].double() + rows.predicted.double())
    exact = pairs @ weights.out.double().T + weights.out_bias.double()
    decode(acoustic, weights, rows, Rules(1, 10, None))
    rtol, atol = TOLERANCES[dtype]
    assert rows.count.tolist() == [1] * 5 and rows.frames[:, 0].tolist() == [0] * 5
    said = exact.gather(1, rows.tokens[:, :1])[:, 0]
    near = rtol * exact.abs().amax(1) + atol
    assert (exact.amax(1) - said <= near).all()
    assert (rows.logprobs[:, 0] - (said - exact.logsumexp(1))).abs().le(near).all()


@BOTH
def test_calls_of_few_turns_are_as_one_of_many(device: torch.device, decode) -> None:  # type: ignore[no-untyped-def]
    weights, rules = network(9, 20, 3, 1, torch.float32, device), Rules(2, 2, 4)
    acoustic = torch.randn(2, 2, 9, generator=torch.Generator().manual_seed(3)).to(device)
    many, few = (search(weights, [0, 7], [3, 8], 2, turns, [0, 6]) for turns in (6, 2))
    decode(acoustic, weights, many, rules)
    found: list[list[tuple[int, int, float]]] = [[], []]
    for _ in range(3):
        decode(acoustic, weights, few, rules)
        report = few.report()
        for tokens, row in zip(found, report, strict=True):
            tokens += row.tokens
    assert found == [row.tokens for row in many.report()] and all(found)
    assert not any(row.unfinished for row in report)


def test_what_has_gaps_is_refused(device: torch.device) -> None:
    weights = network(4, 5, 3, 1, torch.float32, device)
    rows = search(weights, [0, 0], [1, 1], 1, 1, [0, 0])
    rows = replace(rows, predicted=torch.zeros(2, 8, device=device)[:, ::2])
    with pytest.raises(ValueError, match="expected contiguous h, c and predicted"):
        transducer_greedy(torch.zeros(2, 1, 4, device=device), weights, rows, Rules())


def decoder(device: torch.device) -> tuple[RNNTGreedy, RNNTGreedy]:
    """One on the CPU and the same on the device; a burst is short, for the interpreter's sake."""
    _, prediction, joint = heads(loud=2.0)
    plain_one = RNNTGreedy(prediction, joint, max_symbols=2, restart=3, window=3)
    moved = deepcopy(prediction).to(device), deepcopy(joint).to(device)
    return plain_one, RNNTGreedy(*moved, max_symbols=2, restart=3, window=3)


def moved(frames: Frames, device: torch.device) -> Frames:
    place = Place(frames.place.start.to(device), frames.place.stop.to(device), frames.place.count)
    return Frames(frames.data.to(device), place)


def close(ours: list[list[Token]], theirs: list[list[Token]]) -> None:
    """Token for token the same, log-probabilities up to rounding."""
    assert [plain(row) for row in ours] == [plain(row) for row in theirs]
    for mine, other in zip(chain(*ours), chain(*theirs), strict=True):
        assert mine.logprob == pytest.approx(other.logprob, abs=1e-5)


@torch.inference_mode()
def test_the_decoder_says_by_kernels_what_it_says_without(device: torch.device) -> None:
    on_cpu, on_device = decoder(device)
    frames = Frames.whole(signal(2, 6), torch.tensor([6, 3]))
    said = Context().run(on_cpu.decode, frames)  # in a context of its own nothing is interpreted
    close(on_device.decode(moved(frames, device)), said)
    assert all(said)


@torch.inference_mode()
def test_chunks_in_any_slots_leave_the_others_alone(device: torch.device) -> None:
    on_cpu, on_device = decoder(device)
    x, slots = signal(2, 5), torch.tensor([3, 1])
    plain_state, room = on_cpu.init_state(4), torch.full((4, 100), 0.5, device=device)
    state = on_device.init_state(4, device)
    state["predicted"] = room[:, : state["predicted"].shape[1]].zero_()  # slots lie farther apart than they are long
    state["h"][[0, 2]] = 1.0
    for at in range(-1, 5, 3):
        chunk = torch.nn.functional.pad(x, (0, 0, 1, 3))[:, at + 1 : at + 4]
        place = Place(torch.full((2,), at), torch.tensor([5, 4]), 3)
        frames = Frames(chunk, place)
        said = Context().run(on_cpu.step, frames, plain_state, slots)
        close(on_device.step(moved(frames, device), state, slots.to(device)), said)
    for name, value in plain_state.items():
        torch.testing.assert_close(state[name][[1, 3]].cpu(), value[[1, 3]], rtol=1e-5, atol=1e-5)
    assert (state["h"][[0, 2]] == 1).all() and not state["c"][[0, 2]].any() and not state["last"][[0, 2]].any()
    assert (room[:, state["predicted"].shape[1] :] == 0.5).all()


@torch.inference_mode()
def test_rows_that_need_more_turns_get_them(device: torch.device) -> None:
    _, prediction, joint = heads(loud=30.0)  # never a blank
    said = RNNTGreedy(prediction.to(device), joint.to(device), max_symbols=3)
    tokens = said.decode(moved(Frames.whole(signal(1, 2)), device))[0]
    assert [token.frame for token in tokens] == [0] * 3 + [1] * 3


class Asked(TorchDispatchMode):
    """What was asked of the device, so that the host had to wait."""

    names: frozenset[str] = frozenset()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal"):
            self.names |= {name}
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def test_a_chunk_is_launched_without_waiting() -> None:
    _, prediction, joint = heads(loud=2.0)
    decode, frames = RNNTGreedy(prediction, joint, restart=3), Frames.whole(signal(2, 3))
    state, slots = decode.init_state(2), torch.arange(2)
    with Asked() as asked:
        decode.begin(frames, state, slots)
    assert not asked.names
    with Asked() as asked:
        decode.step(frames, state, slots)
    assert asked.names


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_masked_turns_are_label_looping(data: st.DataObject) -> None:
    _, prediction, joint = heads(loud=data.draw(st.sampled_from([0.0, 2.0, 30.0])))
    restart, window = data.draw(st.sampled_from([None, 1, 3])), data.draw(st.integers(1, 4))
    decode = RNNTGreedy(prediction, joint, max_symbols=3, restart=restart, window=window)
    x, at = signal(3, 40), -data.draw(st.integers(0, 3))
    stop, slots = torch.tensor([40, 11, 0]), torch.tensor([2, 0, 1])
    states = [decode.init_state(3) for _ in range(2)]
    with torch.inference_mode():
        while at < 14:
            count = data.draw(st.integers(1, 6))
            frames = Frames(x[:, max(at, 0) :][:, :count], Place(torch.full((3,), at), stop, count))
            by_turns = decode.finish(decode.begin(frames, states[0], slots))
            close(by_turns, decode.step(frames, states[1], slots))
            at += count
    torch.testing.assert_close(*states, rtol=1e-4, atol=1e-5)
