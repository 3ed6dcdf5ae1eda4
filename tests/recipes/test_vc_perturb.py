"""What is done to the sound that the converter's network is trained on."""

from __future__ import annotations

import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")

import torch

from recipes.common.cache import RATE
from recipes.vc_small.perturb import PerturbConfig, noisy, warped
from speech.audio.mel import LogMel, MelConfig
from speech.streaming.frames import Frames


def test_frequencies_move_and_nothing_else() -> None:
    config = MelConfig()
    t = torch.arange(RATE) / RATE
    tones = torch.stack([(2 * torch.pi * f * t).sin() for f in (2000.0, 2200.0)])
    mel = LogMel(config)(Frames.whole(tones)).data
    moved = warped(mel[:1], torch.tensor([1.1]), config)
    assert abs(int(moved[0, 50].argmax()) - int(mel[1, 50].argmax())) <= 1
    torch.testing.assert_close(warped(mel, torch.ones(2), config), mel, atol=1e-4, rtol=1e-4)
    generator = torch.Generator().manual_seed(0)
    same = noisy(tones, PerturbConfig(gain_db=(6.0206, 6.0206), snr_db=(20, 20)), generator) / 2 - tones
    ratio = 20 * torch.log10(tones.std(1) / same.std(1))
    torch.testing.assert_close(ratio, torch.full((2,), 20.0), atol=0.3, rtol=0)
