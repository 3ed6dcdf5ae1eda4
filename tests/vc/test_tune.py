"""The tune of a voice without its pitch."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.streaming.frames import Frames
from speech.vc.tune import FEW, CentredTune


def said(f0: Tensor, voicing: Tensor) -> Tensor:
    """Content of two phones and a tune. f0, voicing: [t] -> [1, t, 5]."""
    others = torch.arange(3.0).expand(len(f0), 3)
    return torch.cat([others[:, :2], (f0 * voicing)[:, None], voicing[:, None], others[:, 2:]], 1)[None]


def test_the_mean_of_voiced_frames_is_taken_away_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    voicing = (torch.rand(60, generator=generator) < 0.5).float()
    f0 = 0.5 * torch.randn(60, generator=generator)
    x = said(f0, voicing)
    y = CentredTune(1000)(Frames.whole(x)).data
    mean = (f0 * voicing).cumsum(0) / (voicing.cumsum(0) + FEW)
    torch.testing.assert_close(y[0, :, 2], (f0 - mean) * voicing)
    assert torch.equal(y[..., [0, 1, 3, 4]], x[..., [0, 1, 3, 4]])


def test_another_pitch_is_soon_the_same_tune_and_another_speaker_is_followed() -> None:
    generator = torch.Generator().manual_seed(1)
    f0, voicing = 0.5 * torch.randn(400, generator=generator), torch.ones(400)
    centred = CentredTune(100)
    low, high = (centred(Frames.whole(said(f0 + shift, voicing))).data[0, :, 2] for shift in (0.0, 2.0))
    off = (high - low).abs()
    assert off[0] > 1 and (off[40:] < 0.1).all() and off[200] < 0.04
    changed = torch.cat([f0[:200], f0[200:] + 2.0])  # somebody else speaks on
    later = centred(Frames.whole(said(changed, voicing))).data[0, :, 2]
    assert torch.equal(later[:200], low[:200])
    assert (later[200] - low[200]) > 1.5 and (later[-20:] - low[-20:]).abs().max() < 0.4  # 2 exp(-2), and more
