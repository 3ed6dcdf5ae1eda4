"""Slots of one buffer: typed views, opening and closing, saving and loading."""

from __future__ import annotations

import pytest
import torch

from speech.errors import SpeechError
from speech.streaming.arena import ALIGNMENT, Arena, Full
from speech.streaming.conv import Conv1d
from speech.streaming.module import State

SPEC: State = {
    "a": torch.zeros(1, 3, 5, device="meta"),
    "inner": {
        "count": torch.zeros(1, dtype=torch.int64, device="meta"),
        "half": torch.zeros(1, 7, dtype=torch.float16, device="meta"),
        "none": torch.zeros(1, 0, 4, device="meta"),
        "flag": torch.zeros(1, 2, dtype=torch.bool, device="meta"),
    },
}


def test_views_have_the_shapes_of_the_spec_and_share_the_buffer() -> None:
    arena = Arena(SPEC, 4)
    inner = arena.state["inner"]
    assert arena.state["a"].shape == (4, 3, 5) and arena.state["a"].dtype == torch.float32
    assert inner["count"].shape == (4,) and inner["count"].dtype == torch.int64
    assert inner["half"].shape == (4, 7) and inner["none"].shape == (4, 0, 4) and inner["flag"].dtype == torch.bool
    base = arena.buffer.data_ptr()
    for leaf in (arena.state["a"], inner["count"], inner["half"], inner["flag"]):
        assert (leaf.data_ptr() - base) % ALIGNMENT == 0 and leaf[1].data_ptr() - leaf[0].data_ptr() == arena.bytes
    arena.state["a"][torch.tensor([2, 0])] = torch.ones(2, 3, 5)
    inner["count"][torch.tensor([2])] += 7
    assert arena.buffer[2].any() and arena.buffer[0].any() and not arena.buffer[[1, 3]].any()


def test_slots_open_zeroed_until_the_arena_is_full() -> None:
    arena = Arena(SPEC, 2)
    arena.buffer.fill_(255)
    assert {arena.open(), arena.open()} == {0, 1} and arena.free == 0
    assert not arena.buffer.any()
    with pytest.raises(Full, match="all 2 are in use"):
        arena.open()
    arena.state["a"][1] = 3.0
    arena.close(1)
    assert arena.open() == 1 and not arena.buffer[1].any()


@pytest.mark.parametrize("slot", [-1, 1, 5])
def test_only_open_slots_close(slot: int) -> None:
    arena = Arena(SPEC, 2)
    assert arena.open() == 0
    with pytest.raises(SpeechError, match="open slot"):
        arena.close(slot)


def test_reset_clears_the_listed_slots_only() -> None:
    arena = Arena(SPEC, 4)
    arena.buffer.fill_(1)
    arena.reset([1, 3])
    assert arena.buffer.bool().all(1).tolist() == [True, False, True, False]


def test_saved_state_goes_to_any_slot_of_any_arena_of_one_layout() -> None:
    conv = Conv1d(3, 3, 4)
    one, other = Arena(conv, 2), Arena(conv, 5)
    one.state["tail"][1] = torch.randn(4, 3)
    other.load(4, one.save(1))
    assert torch.equal(other.state["tail"][4], one.state["tail"][1])
    assert not other.buffer[:4].any()


def test_state_takes_the_dtype_of_the_module() -> None:
    assert Arena(Conv1d(3, 3, 4).double(), 1).state["tail"].dtype == torch.float64
    assert Arena(Conv1d(3, 3, 4), 1, dtype=torch.bfloat16).state["tail"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "saved state of a stream"),
        (b"RIFF" + bytes(60), "saved state of a stream"),
        (Arena(Conv1d(3, 3, 5), 1).save(0), "layout"),
        (Arena(Conv1d(3, 3, 4).double(), 1).save(0), "layout"),
        (Arena(Conv1d(3, 3, 4), 1).save(0)[:-1], "cut short"),
        (b"SPSL\x63" + Arena(Conv1d(3, 3, 4), 1).save(0)[5:], "version 1, got 99"),
    ],
)
def test_state_that_does_not_fit_is_refused_and_changes_nothing(data: bytes, message: str) -> None:
    arena = Arena(Conv1d(3, 3, 4), 1)
    arena.buffer.fill_(7)
    with pytest.raises(SpeechError, match=message):
        arena.load(0, data)
    assert bool((arena.buffer == 7).all())


def test_no_slots_is_refused() -> None:
    with pytest.raises(SpeechError, match="at least one slot"):
        Arena(SPEC, 0)
