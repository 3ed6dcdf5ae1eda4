"""Windows and filter banks against librosa, torch and the closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from speech.audio.filterbank import analysis_window, mel_bank
from speech.errors import SpeechError

BANKS = [
    (16000, 512, 80, 0.0, None),
    (16000, 400, 80, 0.0, 8000.0),
    (24000, 1920, 80, 0.0, 8000.0),
    (8000, 256, 23, 64.0, 3800.0),
]


@pytest.mark.parametrize(("rate", "n_fft", "features", "low", "high"), BANKS)
@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_banks_equal_librosa(rate: int, n_fft: int, features: int, low: float, high: float | None, scale: str) -> None:
    mel = pytest.importorskip("librosa.filters").mel
    options = {"htk": True, "norm": None} if scale == "htk" else {}
    expected = mel(sr=rate, n_fft=n_fft, n_mels=features, fmin=low, fmax=high, **options)
    ours = mel_bank(rate, n_fft, features, low, high, scale)  # type: ignore[arg-type]
    torch.testing.assert_close(ours, torch.from_numpy(expected), atol=1e-6 * float(expected.max()), rtol=1e-5)


def test_the_sides_of_a_kaldi_filter_are_straight_in_mel() -> None:
    bank = mel_bank(16000, 512, 80, low=20.0, scale="kaldi")
    low, high = (1127 * math.log(1 + f / 700) for f in (20.0, 8000.0))
    step = (high - low) / 81
    for band, bin_ in ((0, 1), (10, 12), (40, 75), (79, 250)):
        away = abs(1127 * math.log(1 + bin_ * 31.25 / 700) - (low + (band + 1) * step)) / step
        assert bank[band, bin_].item() == pytest.approx(max(0.0, 1 - away), abs=1e-5)
    assert bank[:, -1].count_nonzero() == 0  # Kaldi drops the Nyquist bin
    assert bank[:, :1].count_nonzero() == 0


def test_windows() -> None:
    torch.testing.assert_close(analysis_window("hann_periodic", 400), torch.hann_window(400))
    torch.testing.assert_close(analysis_window("povey", 400), torch.hann_window(400, periodic=False).pow(0.85))
    hamming = analysis_window("hamming", 25)
    assert hamming[0].item() == pytest.approx(0.08)
    assert hamming[12].item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis_window("kaiser", 400), "window shape"),  # type: ignore[arg-type]
        (lambda: mel_bank(16000, 512, 80, scale="bark"), "mel scale"),  # type: ignore[arg-type]
        (lambda: mel_bank(16000, 512, 80, high=9000.0), "8000 Hz"),
        (lambda: mel_bank(16000, 512, 80, low=500.0, high=400.0), "low 500"),
    ],
)
def test_what_cannot_be_built_is_said(call, message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        call()
