"""Whisper's encoder under the streaming contract: whole windows as published, or block-causal chunk by chunk."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from speech.asr.whisper.config import FACTOR, Context, WhisperConfig
from speech.kernels.linear import Linear
from speech.streaming.attention import Attention
from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames
from speech.streaming.module import Pointwise, Residual, Sequential, State, Streaming
from speech.streaming.timing import phase_for


def sinusoids(count: int, dim: int) -> Tensor:
    """Sines, then cosines, of the positions 0 .. count - 1, wavelengths from 2 pi to 20000 pi. [count, dim]."""
    rate = torch.exp(torch.arange(dim // 2) * (-math.log(1e4) / (dim // 2 - 1)))
    angle = torch.arange(count)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1)


class Positions(Streaming):
    """x plus the vector of its position. [b, t, d] -> [b, t, d].

    There are `count` positions. A longer stream counts in laps: from 0 to the last in the first, from `restart` to the
    last in all others. So the first lap is as published, and later ones leave neither the trained range nor begin where
    a recording begins. What the laps cost: for a while after a restart, what is heard has lower positions than what was
    heard before it.
    """

    table: Tensor

    def __init__(self, count: int, dim: int, restart: int) -> None:
        super().__init__()
        self.count, self.restart = count, restart
        self.register_buffer("table", sinusoids(count, dim))

    def position(self, index: Tensor) -> Tensor:
        """The position of frames by their stream index, of any shape; 0 before the stream."""
        later = self.restart + (index - self.count).remainder(self.count - self.restart)
        return torch.where(index < self.count, index.clamp(min=0), later)

    def forward(self, frames: Frames) -> Frames:
        return frames.like(frames.data + self.table[self.position(frames.place.index)].to(frames.data.dtype))

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        return self.forward(frames)


class FeedForward(nn.Sequential):
    """Norm, linear, GELU, linear. [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.LayerNorm(dim), Linear(dim, 4 * dim), nn.GELU(), Linear(4 * dim, dim))


class EncoderLayer(Sequential):
    """Self-attention and feed-forward, each a residual behind a norm. [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int, heads: int, context: Context) -> None:
        attention = Attention(
            dim,
            heads,
            left=context.left,
            chunk=context.chunk,
            initial=context.initial,
            sinks=context.sinks,
            position="none",
        )
        super().__init__(
            attention=Residual(dim, Sequential(norm=nn.LayerNorm(dim), attention=attention)),
            feed_forward=Residual(dim, Pointwise(FeedForward(dim))),
        )


class Encoder(Sequential):
    """Log-mel frames to frames of 20 ms. [b, t, features] -> [b, ceil(t / 2), dim].

    One set of weights serves several contexts; an `Encoder` is fixed at one of them, and `at` gives the same weights at
    another. Convolutions keep their tail, attention its keys and values: nothing is computed twice.

    Block-causal masks with an initial block: CarelessWhisper (2025, arXiv 2508.12301).
    A stream's initial block must come in one step, see `opening`.
    """

    def __init__(self, config: WhisperConfig, context: Context | None = None) -> None:
        c, context = config, context or config.contexts[0]
        layers = {f"{i}": EncoderLayer(c.dim, c.encoder_heads, context) for i in range(c.encoder_layers)}
        super().__init__(
            conv1=Conv1d(c.mel.features, c.dim, 1, 1),
            gelu1=Pointwise(gelu),
            conv2=Conv1d(c.dim, c.dim, 1, 1, stride=FACTOR),
            gelu2=Pointwise(gelu),
            positions=Positions(c.positions, c.dim, context.restart),
            layers=Sequential(**layers),
            norm=nn.LayerNorm(c.dim),
        )
        self.config, self.context = config, context

    @property
    def opening(self) -> int:
        """Mel frames, padding before the stream included, that the first step brings at least, from the best phase."""
        phase = phase_for(self)
        return FACTOR * (max(self.context.initial, self.context.chunk) - self.first(phase))

    def at(self, context: Context) -> Encoder:
        """This encoder, its very layers, in another context."""
        if context == self.context:
            return self
        with torch.device("meta"):
            other = Encoder(self.config, context)
        for name, module in list(other.named_modules()):
            if next(module.parameters(recurse=False), None) is not None:
                other.set_submodule(name, self.get_submodule(name))
        other.get_submodule("positions").table = self.get_buffer("positions.table")
        return other.train(self.training)
