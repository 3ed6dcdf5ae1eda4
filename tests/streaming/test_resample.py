"""Resampling inside a network, beside soxr."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
import torch

from speech.streaming.driver import Driver
from speech.streaming.resample import Resample


def _resampled(x: torch.Tensor, rate: int, new_rate: int) -> torch.Tensor:
    module = Resample(rate, new_rate)
    driver = Driver(module, module.grain * max(1, 400 // module.grain))
    return torch.cat([driver.push(x), driver.flush()])


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(16000, 48000), (48000, 16000), (44100, 16000), (16000, 44100), (22050, 24000)]
)
def test_a_sine_comes_out_as_from_soxr(rate: int, new_rate: int) -> None:
    seconds, low = 0.2, min(rate, new_rate)
    time = np.arange(int(rate * seconds)) / rate
    for hertz in (0.01 * low, 0.2 * low, 0.42 * low):
        x = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        y = _resampled(torch.from_numpy(x), rate, new_rate).numpy()
        expected = soxr.resample(x, rate, new_rate, "VHQ")
        assert abs(len(y) - len(expected)) <= 1
        inner = slice(len(expected) // 4, -(len(expected) // 4))
        exact = np.sin(2 * np.pi * hertz * np.arange(len(y)) / new_rate)
        assert np.abs(y - exact)[inner].max() < 2e-4
        assert np.abs(y[: len(expected)] - expected[: len(y)])[inner].max() < 5e-4  # soxr itself is 3e-4 off the sine


def test_what_the_new_rate_cannot_carry_is_stopped() -> None:
    time = np.arange(9600) / 48000
    for hertz in (8500, 12000, 20000):
        y = _resampled(torch.from_numpy(np.sin(2 * np.pi * hertz * time).astype(np.float32)), 48000, 16000)
        assert float(y[800:-800].abs().max()) < 1e-4  # 80 dB down


def test_a_constant_passes_unchanged() -> None:
    y = _resampled(torch.ones(3000), 44100, 48000)
    torch.testing.assert_close(y[200:-200], torch.ones(len(y) - 400), atol=1e-5, rtol=0)


def test_rates_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="rates"):
        Resample(0, 16000)
