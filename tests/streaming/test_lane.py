"""Slots of a module that streams step in together."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.streaming.driver import Driver
from speech.streaming.lane import Asking, Call, Lane, Seat, alone, speaking
from speech.streaming.timing import phase_for
from tests.streaming.registry import REGISTRY

NAMES = ("lstm 3", "front end 8x", "attention sliding ahead sinks relative", "encoder (6, 1)", "down and up")


def _calls(name: str, seats: list[Seat], at: int, seed: int = 0) -> list[Call]:
    """The step of every stream that begins `at` steps after its start."""
    case, generator = REGISTRY[name], torch.Generator().manual_seed(seed)
    phase, chunk = phase_for(case.module), 2 * case.module.grain
    data = torch.randn(len(seats), chunk, *case.shape, generator=generator)
    return [Call(seat, row, phase + at * chunk, phase=phase) for seat, row in zip(seats, data, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_fill_a_batch_change_nothing(name: str) -> None:
    module = REGISTRY[name].module
    padded, plain = Lane(module, 4, padded=True), Lane(module, 4, padded=False)
    seats = [padded.open() for _ in range(4)], [plain.open() for _ in range(4)]
    assert len({padded.spare, *(seat.slot for seat in seats[0])}) == 5
    for step, rows in enumerate((4, 8, 4, 16)):
        filled, alone_ = padded.run(_calls(name, seats[0], step), rows), plain.run(_calls(name, seats[1], step), rows)
        assert len(filled) == len(alone_) == 4
        torch.testing.assert_close(torch.stack(filled), torch.stack(alone_), rtol=1e-5, atol=1e-5)
    before = padded.arena.buffer.clone()
    padded.run(_calls(name, seats[0][1:3], 4), 8)
    moved = {seats[0][1].slot, seats[0][2].slot, padded.spare}
    for slot in range(padded.arena.slots):
        assert slot in moved or torch.equal(padded.arena.buffer[slot], before[slot])


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_does_not_depend_on_who_shares_its_batches(name: str) -> None:
    module = REGISTRY[name].module
    crowd, lonely = Lane(module, 5), Lane(module)
    seats, seat = [crowd.open() for _ in range(5)], lonely.open()
    for step, others in enumerate((4, 0, 2, 3)):
        calls = _calls(name, seats[: others + 1], step, seed=step)
        mine = Call(seat, calls[0].data, calls[0].start, phase=calls[0].phase)
        torch.testing.assert_close(crowd.run(calls)[0], lonely.run([mine])[0], rtol=1e-5, atol=1e-5)


def test_a_seat_is_parked_and_comes_back_elsewhere() -> None:
    lane = Lane(REGISTRY["lstm 1"].module, 2)
    first, second = lane.open(), lane.open()
    with pytest.raises(Full, match="all 2 are in use"):
        lane.open()
    lane.run(_calls("lstm 1", [first, second], 0))
    saved, slot = first.save(), first.slot
    first.park()
    first.park()
    assert first.parked == saved == first.save() and lane.arena.free == 1
    third = lane.open()
    assert third.slot == slot and third.save() != saved
    with pytest.raises(Full):
        first.unpark()
    assert first.parked == saved
    second.close()
    first.unpark()
    first.unpark()
    assert first.parked is None and first.slot != slot and first.save() == saved
    first.park()
    first.close()  # what is parked is dropped
    third.close()
    assert lane.arena.free == 2


def test_a_parked_stream_begins_anew_in_a_slot_of_its_own() -> None:
    lane = Lane(REGISTRY["lstm 1"].module, 2)
    parked, other = lane.open(), lane.open()
    empty = parked.save()
    lane.run(_calls("lstm 1", [parked, other], 0))
    for begin in (parked.reset, lambda: parked.load(empty)):
        parked.park()
        third = lane.open()  # where it was
        lane.run(_calls("lstm 1", [third], 0))
        states = [seat.save() for seat in (other, third)]
        with pytest.raises(Full):
            begin()
        other.park()
        begin()
        assert parked.save() == empty and [seat.save() for seat in (other, third)] == states
        third.close()
        other.unpark()


def test_only_a_padded_lane_has_a_spare_slot() -> None:
    lane = Lane(REGISTRY["lstm 1"].module, 3, padded=True)
    assert lane.arena.free == 3 and [lane.open().slot for _ in range(3)].count(lane.spare) == 0
    with pytest.raises(Full):
        lane.open()
    with pytest.raises(ValueError, match="padded lane"):
        _ = Lane(REGISTRY["lstm 1"].module, 3, padded=False).spare


def test_drivers_share_a_lane() -> None:
    case = REGISTRY["encoder (6, 1)"]
    lane, chunk = Lane(case.module, 2), case.module.grain
    x, together = torch.randn(2, 70, *case.shape), []
    drivers = [Driver(case.module, chunk, shape=case.shape, lane=lane) for _ in x]
    for pieces in zip(*(row.split(9) for row in x), strict=True):
        together.append([driver.push(piece) for driver, piece in zip(drivers, pieces, strict=True)])
    together.append([driver.flush() for driver in drivers])
    for row, found in zip(x, zip(*together, strict=True), strict=True):
        single = Driver(case.module, chunk, shape=case.shape)
        torch.testing.assert_close(torch.cat(found), torch.cat([single.push(row), single.flush()]))
    for driver in drivers:
        driver.close()
    assert lane.arena.free == 2


def test_a_driver_learns_from_its_lane_what_no_outputs_look_like() -> None:
    case = REGISTRY["encoder (6, 1)"]
    lane = Lane(case.module, 2)
    first = Driver(case.module, 16, shape=case.shape, lane=lane)
    assert lane.empty is None and first.push(torch.zeros(1, 8)).shape == (0, 8)
    first.flush()
    assert lane.empty is not None and lane.empty.shape == (0, 8)
    assert Driver(case.module, 16, shape=case.shape, lane=lane).push(torch.zeros(1, 8)).shape == (0, 8)


def test_answers_go_to_who_asked() -> None:
    lane = Lane(REGISTRY["delay"].module, 1)  # by three frames
    seat = lane.open()

    def asking(x: Tensor) -> Asking[list[Tensor]]:
        found = []
        for i, piece in enumerate(x.split(2)):
            found.append((yield Call(seat, piece, 2 * i)))
        return found

    x = torch.arange(48.0).view(8, 6)
    found = torch.cat(alone(asking(x)))
    torch.testing.assert_close(found[3:], x[:5])

    def telling() -> Generator[Call | str | Tensor, Any, None]:
        yield "begun"
        answer = yield Call(seat, x[:2], 8)
        yield answer + 1

    seat.reset()
    said = list(speaking(telling()))
    assert said[0] == "begun"
    torch.testing.assert_close(said[1], torch.ones(2, 6))


def test_what_a_stream_raises_is_raised() -> None:
    lane = Lane(REGISTRY["lstm 1"].module)
    driver = Driver(REGISTRY["lstm 1"].module, 2, shape=(6,), lane=lane)
    with pytest.raises(SpeechError, match="frames of shape"):
        alone(driver.pushing(torch.zeros(2, 7)))
