"""Interpolation in time beside the same by torch."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from speech.streaming.frames import Frames
from speech.vc.interpolate import Interpolate


def test_chunks_with_aligned_corners() -> None:
    """[last frame of the chunk before | chunk], the first chunk with its own first frame before it."""
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    chunks = [torch.cat([x[max(i - 1, 0), None], x[i : i + 5]]) for i in (0, 5)]
    wanted = [interpolate(c.T[None], size=21, mode="linear", align_corners=True)[0].T[1:] for c in chunks]
    torch.testing.assert_close(Interpolate(3, 4)(Frames.whole(x[None])).data[0], torch.cat(wanted))
