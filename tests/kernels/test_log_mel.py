"""Log-mel spectra against a Fourier transform in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from speech.audio.mel import KALDI_FBANK, NEMO, LogMel, MelConfig
from speech.kernels.log_mel import log_mel, log_mel_reference
from speech.streaming.frames import Frames
from speech.streaming.timing import phase_for
from tests.kernels.stepped import stepped
from tests.kernels.tolerances import TOLERANCES

OPS = [log_mel, log_mel_reference]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("b", "t", "n", "n_fft", "features"), [(1, 1, 3, 4, 1), (3, 7, 17, 32, 5), (2, 17, 70, 70, 35)]
)
@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("magnitude", [None, 1e-6])
@pytest.mark.usefixtures("poisoned")
def test_log_mel_equals_float64(
    op: Callable[..., Tensor],
    b: int,
    t: int,
    n: int,
    n_fft: int,
    features: int,
    clamp: bool,
    magnitude: float | None,
    device: torch.device,
) -> None:
    torch.manual_seed(n)
    hop = max(n // 3, 1)
    signal = torch.randn(b, n + t * hop, device=device)
    frames = signal.unfold(1, n, hop)[:, :t]
    window, bank = torch.rand(n, device=device), torch.rand(features, n_fft // 2 + 1, device=device)
    power = torch.fft.rfft(frames.double() * window.double(), n_fft).abs().square()
    mel = (power if magnitude is None else (power + magnitude).sqrt()) @ bank.double().T
    floor = 0.05
    expected = (mel.clamp(min=floor) if clamp else mel + floor).log()
    y = op(frames, window, bank, n_fft, floor=floor, clamp=clamp, magnitude=magnitude)
    rtol, atol = TOLERANCES[torch.float32]
    torch.testing.assert_close(y.double(), expected, rtol=rtol, atol=atol)


def test_what_is_wider_than_float32_stays_so(device: torch.device) -> None:
    frames, window = torch.randn(1, 2, 8, dtype=torch.float64, device=device), torch.ones(8, device=device).double()
    bank = torch.rand(3, 5, device=device).double()
    expected = (torch.fft.rfft(frames).abs().square() @ bank.T + 1e-3).log()
    torch.testing.assert_close(log_mel(frames, window, bank, 8, floor=1e-3), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "config",
    [
        replace(NEMO, features=8, n_fft=32, window=20, hop=8),
        replace(KALDI_FBANK, features=5, n_fft=32, window=24, hop=8, low=0.0),
    ],
    ids=["nemo", "kaldi"],
)
@torch.inference_mode()
def test_the_front_end_steps_as_it_runs_whole(config: MelConfig, device: torch.device) -> None:
    torch.manual_seed(0)
    module, x = LogMel(config).to(device), torch.randn(2, 96, device=device)
    got = stepped(module, x, 4 * config.hop, phase=phase_for(module))
    torch.testing.assert_close(got, module(Frames.whole(x)).data, rtol=1e-4, atol=1e-4)
