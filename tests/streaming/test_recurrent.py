"""Recurrent layers beside torch's own, and what the Legendre memory remembers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.polynomial import Legendre
from torch import nn

from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.streaming.recurrent import GRU, LSTM, LegendreMemory, Recurrent, legendre


@pytest.mark.parametrize(("ours", "theirs"), [(LSTM(3, 5, 2), nn.LSTM(3, 5, 2)), (GRU(3, 5, 2), nn.GRU(3, 5, 2))])
def test_stepping_with_the_weights_of_torch(ours: Recurrent, theirs: nn.LSTM | nn.GRU) -> None:
    ours.rnn.load_state_dict(theirs.state_dict())
    x = torch.randn(11, 3)
    with torch.inference_mode():
        expected, _ = theirs(x)
    torch.testing.assert_close(Driver(ours, 4, shape=(3,)).push(x), expected[:8])


def test_frames_before_the_stream_leave_the_cells_at_zero() -> None:
    driver = Driver(LSTM(3, 5), 4, shape=(3,), phase=-8)
    driver.push(torch.empty(0, 3))
    assert not driver.seat.lane.arena.buffer.any()


def test_the_memory_gives_back_its_window() -> None:
    """x[t - s] is the sum of m_i[t] P_i(2 s / window - 1): a slow sine is found again anywhere in the window."""
    window, order = 40.0, 10
    memory = LegendreMemory(1, order, window)
    x = torch.sin(torch.arange(200) * 2 * torch.pi / 50)
    with torch.inference_mode():
        m = memory(Frames.whole(x[None, :, None])).data[0, -1]
    for ago in (5, 13, 20, 31):
        basis = [Legendre.basis(i)(2 * ago / window - 1) for i in range(order)]
        found = float(m @ torch.tensor(np.array(basis), dtype=torch.float32))
        assert found == pytest.approx(float(x[-1 - ago]), abs=0.1)


def test_the_discrete_memory_holds_a_constant() -> None:
    """The fixed point of a constant input is that constant: the first coefficient alone."""
    a, b = legendre(6, 20.0)
    expected = torch.zeros(6, dtype=torch.float64)
    expected[0] = 1.0
    torch.testing.assert_close(torch.linalg.solve(torch.eye(6, dtype=torch.float64) - a, b), expected)
