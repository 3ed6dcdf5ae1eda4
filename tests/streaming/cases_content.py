"""The content encoder, small. What lies behind its rounding is compared in tests/content/test_encoder.py."""

from __future__ import annotations

from functools import partial

from speech.audio.mel import MelConfig
from speech.content import u2pp
from speech.content.encoder import Content, ContentConfig, ContentEncoder, Subsampling
from speech.content.u2pp import U2PPConfig, U2PPEncoder
from speech.streaming.module import Streaming
from tests.streaming.case import Case, D


def _encoder(content: Content, look_ahead: int) -> Streaming:
    """Without a bottleneck: a value that lies on the border of rounding would tell of nothing else."""
    mel = MelConfig(features=8, n_fft=32, window=20, hop=8)
    sizes = ContentConfig(
        mel, dim=8, layers=2, heads=2, conv_left=3, left=6, look_ahead=look_ahead, levels=(), vocabulary=5, tune=True
    )
    return ContentEncoder(sizes).pipeline(content)


def _u2pp(chunk: int, left_chunks: int) -> Streaming:
    """Laps of three chunks, so that streams pass several."""
    sizes = U2PPConfig(
        MelConfig(features=8, n_fft=32, window=20, hop=8, edges="snip", per_frame=True),
        dim=8,
        layers=2,
        heads=2,
        ff_hidden=12,
        kernel=4,
        chunk=chunk,
        left_chunks=left_chunks,
        lap=3,
        restart=left_chunks + 1,
    )
    return U2PPEncoder(sizes).pipeline()


CASES: dict[str, Case] = {
    "content subsampling": Case(partial(Subsampling, D, 8)),
    "content features": Case(partial(_encoder, "features", 0), (), longest=400),
    "content scores ahead": Case(partial(_encoder, "scores", 2), (), longest=400),
    "content said": Case(partial(_encoder, "said", 0), (), longest=400),
    "content said ahead": Case(partial(_encoder, "said", 2), (), longest=400),
    "U2++ subsampling": Case(partial(u2pp.Subsampling, 9, 8), (9,)),
    "U2++": Case(partial(_u2pp, 2, 1), (), longest=900),
    "U2++, no left chunk": Case(partial(_u2pp, 3, 0), (), longest=900),
}
