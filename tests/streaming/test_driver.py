"""One live stream through one module."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.conv import Conv1d
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from tests.streaming.case import D
from tests.streaming.registry import REGISTRY

PIPELINES = ("fastconformer (6, 2)", "encoder centred (6, 1)", "up and down", "residual down and up", "delay")


def _whole(name: str, x: Tensor) -> Tensor:
    with torch.inference_mode():
        y = REGISTRY[name].module(Frames.whole(x[None]))
        return y.data[0, : int(y.lengths)]


@pytest.mark.parametrize("name", PIPELINES)
@settings(max_examples=6, deadline=None)
@given(
    pushes=st.lists(st.integers(0, 70), max_size=6),
    chunk=st.integers(1, 3),
    save=st.integers(0, 5),
    packed=st.booleans(),
)
def test_any_pushes_give_the_whole_signal(name: str, pushes: list[int], chunk: int, save: int, packed: bool) -> None:
    case = REGISTRY[name]
    driver = Driver(case.module, chunk * case.module.grain, shape=case.shape)
    x = torch.randn(sum(pushes), *case.shape)
    outs = []
    for i, part in enumerate(x.split(pushes) if pushes else []):
        outs.append(driver.push(part))
        assert driver.emitted == sum(map(len, outs))
        if i == save:
            saved, kept = driver.snapshot(), driver.keep()
            driver.push(torch.randn(50, *case.shape))  # what comes after a snapshot leaves no trace
            driver = Driver(case.module, chunk * case.module.grain, shape=case.shape)
            driver.restore(saved) if packed else driver.resume(kept)
    outs.append(driver.flush())
    y = torch.cat(outs)
    assert driver.received == len(x) and driver.emitted == len(y) == case.module.total(len(x))
    if len(x):
        torch.testing.assert_close(y, _whole(name, x), rtol=1e-5, atol=1e-5)


def test_an_empty_stream_flushes_to_nothing_of_the_right_shape() -> None:
    driver = Driver(REGISTRY["fastconformer (6, 2)"].module, 192)
    assert driver.push(torch.zeros(0)).shape == (0, 8)
    assert driver.flush().shape == (0, 8)


def test_reset_begins_another_stream() -> None:
    case = REGISTRY["encoder (6, 1)"]
    driver = Driver(case.module, 16, shape=case.shape)
    x = torch.randn(45, *case.shape)
    first = torch.cat([driver.push(x), driver.flush()])
    driver.reset()
    assert torch.equal(torch.cat([driver.push(x), driver.flush()]), first)


def test_outputs_come_as_soon_as_the_phase_allows() -> None:
    """An 8x causal front end gives its first output with the first frame."""
    driver = Driver(REGISTRY["front end 8x"].module, 8, shape=(D,))
    assert [len(driver.push(torch.randn(1, D))) for _ in range(17)] == [1] + 7 * [0] + [1] + 7 * [0] + [1]


def test_a_flushed_stream_takes_no_more() -> None:
    driver = Driver(Conv1d(D, D, 2), 4, shape=(D,))
    driver.flush()
    with pytest.raises(SpeechError, match="reset"):
        driver.push(torch.zeros(1, D))
    with pytest.raises(SpeechError, match="reset"):
        driver.flush()


@pytest.mark.parametrize("shape", [(), (D,), (3, D + 1), (2, 3, D)])
def test_frames_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpeechError, match="frames of shape"):
        Driver(Conv1d(D, D, 2), 4, shape=(D,)).push(torch.zeros(shape))


@pytest.mark.parametrize(("chunk", "phase", "message"), [(0, 0, "of 16"), (24, 0, "of 16"), (16, 1, "phase")])
def test_illegal_chunks_and_phases_are_refused(chunk: int, phase: int, message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        Driver(REGISTRY["encoder (6, 1)"].module, chunk, shape=(8,), phase=phase)


def test_a_snapshot_of_something_else_is_refused() -> None:
    driver = Driver(Conv1d(D, D, 2), 4, shape=(D,))
    for data, message in (
        (b"", "snapshot of a stream"),
        (b"PK" + bytes(100), "snapshot of a stream"),
        (Driver(Conv1d(D, D, 2), 8, shape=(D,)).snapshot(), "chunk 4"),
        (Driver(Conv1d(D, D, 3), 4, shape=(D,)).snapshot(), "layout"),
        (driver.snapshot()[:-3], "cut short"),
        (b"SPDR\x63" + driver.snapshot()[5:], "version 1, got 99"),
    ):
        with pytest.raises(SpeechError, match=message):
            driver.restore(data)


@settings(max_examples=6, deadline=None)
@given(pushes=st.lists(st.integers(1, 40), min_size=1, max_size=6), opening=st.integers(1, 4))
def test_the_first_step_may_be_another(pushes: list[int], opening: int) -> None:
    case = REGISTRY["encoder (6, 1)"]
    driver = Driver(case.module, case.module.grain, shape=case.shape, opening=opening * case.module.grain)
    x, outs = torch.randn(sum(pushes), *case.shape), []
    for part in x.split(pushes):
        room = driver.room
        outs.append(driver.push(part))
        assert driver.emitted == sum(map(len, outs)) and (len(outs[-1]) > 0) <= (len(part) >= room)
        saved = driver.snapshot()
        driver = Driver(case.module, case.module.grain, shape=case.shape, opening=opening * case.module.grain)
        driver.restore(saved)
    torch.testing.assert_close(torch.cat([*outs, driver.flush()]), _whole("encoder (6, 1)", x), rtol=1e-5, atol=1e-5)
