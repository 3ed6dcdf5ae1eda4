"""The content encoder, small. What lies behind its rounding is compared in tests/content/test_encoder.py."""

from __future__ import annotations

from functools import partial

from speech.audio.mel import MelConfig
from speech.content.encoder import Content, ContentConfig, ContentEncoder, Subsampling
from speech.streaming.module import Streaming
from tests.streaming.case import Case, D


def _encoder(content: Content, look_ahead: int) -> Streaming:
    """Without a bottleneck: a value that lies on the border of rounding would tell of nothing else."""
    mel = MelConfig(features=8, n_fft=32, window=20, hop=8)
    sizes = ContentConfig(
        mel, dim=8, layers=2, heads=2, conv_left=3, left=6, look_ahead=look_ahead, levels=(), vocabulary=5
    )
    return ContentEncoder(sizes).pipeline(content)


CASES: dict[str, Case] = {
    "content subsampling": Case(partial(Subsampling, D, 8)),
    "content features": Case(partial(_encoder, "features", 0), (), longest=400),
    "content scores ahead": Case(partial(_encoder, "scores", 2), (), longest=400),
}
