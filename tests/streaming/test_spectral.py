"""The Fourier transforms against torch's, edges included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential
from speech.streaming.spectral import ISTFT, STFT

SHAPES = [(16, 4, None), (64, 16, 48), (32, 10, 30)]


def _torch_stft(x: Tensor, n_fft: int, hop: int, length: int | None) -> Tensor:
    window = torch.hann_window(length or n_fft)
    return torch.stft(x, n_fft, hop, length, window, center=True, pad_mode="constant", return_complex=True)


@pytest.mark.parametrize(("n_fft", "hop", "length"), SHAPES)
@pytest.mark.parametrize("n", [1, 79, 160])
def test_stft_is_that_of_torch(n_fft: int, hop: int, length: int | None, n: int) -> None:
    x = torch.randn(2, n)
    y = STFT(n_fft, hop, length)(Frames.whole(x))
    expected = torch.view_as_real(_torch_stft(x, n_fft, hop, length)).transpose(1, 2)
    assert y.lengths.tolist() == [expected.shape[1]] * 2
    torch.testing.assert_close(y.data, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("n_fft", "hop", "length"), SHAPES)
@pytest.mark.parametrize("frames", [2, 13])
def test_istft_is_that_of_torch(n_fft: int, hop: int, length: int | None, frames: int) -> None:
    """Of spectra that no signal has, so that the window sums show."""
    spectra = torch.randn(2, frames, n_fft // 2 + 1, 2)
    y = ISTFT(n_fft, hop, length)(Frames.whole(spectra))
    window = torch.hann_window(length or n_fft)
    bins = torch.view_as_complex(spectra).transpose(1, 2)
    expected = torch.istft(bins, n_fft, hop, length, window, center=True)
    assert y.data.shape == expected.shape
    torch.testing.assert_close(y.data, expected, atol=1e-5, rtol=1e-4)


def test_there_and_back_gives_the_samples_again() -> None:
    x = torch.randn(160)
    driver = Driver(Sequential(there=STFT(32, 8), back=ISTFT(32, 8)), 24)
    y = torch.cat([driver.push(x[:100]), driver.push(x[100:]), driver.flush()])
    torch.testing.assert_close(y, x, atol=1e-5, rtol=1e-5)


def test_windows_that_do_not_fit_are_refused() -> None:
    for n_fft, hop, length in ((15, 4, None), (16, 17, None), (16, 4, 20), (16, 8, 6)):
        with pytest.raises(ValueError, match="hop <= window <= n_fft"):
            STFT(n_fft, hop, length)
