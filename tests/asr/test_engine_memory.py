"""Memory of an engine does not depend on how many sessions it has seen."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from math import inf

import numpy as np
import pytest

from speech.asr.model import FastConformer
from speech.asr.recogniser import Recogniser
from speech.asr.tokenizer import SentencePiece
from speech.kernels.linear import pack
from speech.streaming.engine.config import EngineConfig
from tests.asr.small import noise, small_model
from tests.streaming.engine.small import Rig

SLOTS, RATE, MIB = 16, 16000, 2**20


class MallInfo(ctypes.Structure):
    """What glibc tells of its heaps (mallinfo(3))."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    )


@pytest.fixture(scope="module")
def in_use() -> Callable[[], float]:
    """MiB that are allocated, tensors and what libraries keep for themselves."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        pytest.skip("this C library has no mallinfo2")
    mallinfo.restype = MallInfo

    def read() -> float:
        info = mallinfo()
        return (info.uordblks + info.hblkhd) / MIB

    return read


@pytest.fixture
def recogniser(tokenizer: SentencePiece) -> Recogniser:
    """A small one, packed as a loaded one is."""
    model: FastConformer = small_model()
    pack(model)
    return Recogniser(model, tokenizer)


@pytest.fixture(autouse=True)
def _uncollected() -> Iterator[None]:
    """What is over must be freed at once: when cycles are looked for next, a thousand sessions may have been."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _crowd(rig: Rig, size: int, rng: np.random.Generator) -> None:
    """So many come at once, for a second or so each; one of them pauses and one leaves early."""
    sessions = [rig.open() for _ in range(size)]
    for i, session in enumerate(sessions):
        session.push(noise(0.6 + rng.random(), seed=i))
    rig.settle()
    rig.scheduler.park(sessions[0])
    sessions[0].push(noise(0.5))
    sessions.pop().close()
    for session in sessions:
        session.end()
    rig.settle()
    assert all(session.done for session in sessions) and rig.free == {SLOTS}


def test_sessions_leave_nothing_behind(recogniser: Recogniser, in_use: Callable[[], float]) -> None:
    rig = Rig(recogniser.host(SLOTS), SLOTS, EngineConfig(most_load=inf))
    rng, used = np.random.default_rng(0), []
    for sizes in ((2, 3, 1, 4), (5, 7, 9, 16), (8, 11, 13, 15)):  # more and more at once
        for size in sizes:
            _crowd(rig, size, rng)
        used.append(in_use())
    assert used[2] - used[0] < 4, f"MiB in use: {used}"


def test_streams_by_themselves_leave_nothing_behind(recogniser: Recogniser, in_use: Callable[[], float]) -> None:
    used = []
    for _ in range(3):
        for i in range(12):
            with recogniser.stream(RATE) as stream:
                stream.push(noise(0.5 + i / 19))
                stream.flush()
        used.append(in_use())
    assert used[2] - used[0] < 0.5, f"MiB in use: {used}"
