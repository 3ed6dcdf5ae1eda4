"""Guided attention: in training the decoder is shown where in the sound each token lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from recipes.causal_whisper.data import FRAME
from recipes.common.cache import RATE
from speech.asr.whisper.decoder import CrossAttention, Decoder

MARGIN = 0.12
"""Seconds around a token that still belong to it."""


@contextmanager
def watched(decoder: Decoder) -> Iterator[list[Tensor]]:
    """The cross attention of the decoder's last layer in every pass that is made within: weights [b, h, u, t]."""
    seen: list[Tensor] = []

    def keep(cross: CrossAttention, given: tuple[Tensor, ...], _: Tensor) -> None:
        x, k, _, visible = given
        seen.append(cross.weights(x, k, visible))

    hook = decoder.layers[-1].cross.register_forward_hook(keep)  # type: ignore[union-attr]
    try:
        yield seen
    finally:
        hook.remove()


def guidance(weights: Tensor, ends: Tensor, first: int) -> Tensor:
    """How far half of the heads look beside the tokens: the mean of -log(attention inside), a scalar.

    weights: [b, h, u, t], of which the first half of the heads is guided; ends: [b, u] seconds by which each label has
    been spoken; first: the first label that is text. A label lies between the end of the one before and its own (as
    the guided attention of Tachibana et al. 2018, arXiv 1710.08969, whose ridge is diagonal as times are not known).
    """
    heads, frames = weights.shape[1] // 2, weights.shape[-1]
    time = (torch.arange(frames, device=ends.device) + 0.5) * (FRAME / RATE)
    begins = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
    inside = (time > begins[..., None] - MARGIN) & (time < ends[..., None] + MARGIN)
    asked = inside.any(-1) & (ends > begins)
    asked[:, :first] = False
    share = (weights[:, :heads].mean(1).float() * inside).sum(-1)
    return -share[asked].clamp(min=1e-6).log().sum() / asked.sum().clamp(min=1)
