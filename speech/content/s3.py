"""The supervised semantic speech tokenizer of CosyVoice 2: 16 kHz speech to 25 codes a second.

Every frame attends to the whole recording, to what comes after it too: this model has no `step`. Streams are tokenised
by `content.encoder.ContentEncoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from speech.audio.mel import S3_TOKENIZER, LogMel, MelConfig
from speech.content.fsq import FSQ
from speech.content.reference import RATE, recording
from speech.errors import SpeechError
from speech.kernels.linear import Linear
from speech.streaming.attention import Rotary
from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames

HEAD = 64
"""Width of an attention head."""

FACTOR = 4
"""Mel frames to a code."""

WINDOW, OVERLAP = 3000, 400
"""Long recordings are read in windows of 30 s that overlap by 4 s: mel frames."""

SHORTEST = 0.04
"""Seconds of a code: the least that can be tokenised."""


@dataclass(frozen=True)
class S3Config:
    """The S3 tokenizer (Du et al. 2024, arXiv 2412.10117). Defaults: CosyVoice 2's `speech_tokenizer_v2`, 25 Hz.

    kernel: frames that the memory of an attention layer spans. levels: of the quantiser's dimensions; the codebook has
    their product. Raises SpeechError for sizes that cannot be built.
    """

    mel: MelConfig = S3_TOKENIZER
    dim: int = 1280
    heads: int = 20
    layers: int = 6
    kernel: int = 31
    levels: tuple[int, ...] = (3,) * 8

    def __post_init__(self) -> None:
        if self.heads < 1 or self.dim != HEAD * self.heads or self.kernel % 2 == 0:
            raise SpeechError(
                f"expected {HEAD} channels a head and an odd memory kernel, got {self.dim} channels, {self.heads} "
                f"heads and kernel {self.kernel}"
            )


class MemoryAttention(nn.Module):
    """Self-attention over the whole signal plus a memory of the values around (Gao et al. 2020, arXiv 2006.01713).

    The memory is a depthwise convolution over the values, as in feed-forward sequential memory networks (FSMN), added
    behind the output layer. Rotary positions. [b, t, d] -> [b, t, d].
    """

    def __init__(self, dim: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.heads, self.rotary = heads, Rotary()
        self.query, self.key, self.value = Linear(dim, dim), Linear(dim, dim, bias=False), Linear(dim, dim)
        self.memory = Conv1d(dim, dim, kernel // 2, kernel // 2, groups=dim, bias=False)
        self.out = Linear(dim, dim)

    def forward(self, frames: Frames) -> Tensor:
        x, place = frames.data, frames.place
        value = self.value(x)
        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (self.query(x), self.key(x), value))
        q, k = self.rotary(q, place.index), self.rotary(k, place.index)
        y = scaled_dot_product_attention(q, k, v, attn_mask=place.valid[:, None, None])
        return self.out(y.transpose(1, 2).flatten(2)) + self.memory(frames.like(value)).data + value


class Block(nn.Module):
    """Attention with memory and feed-forward, each a residual behind a norm. [b, t, d] -> [b, t, d]."""

    def __init__(self, config: S3Config) -> None:
        super().__init__()
        dim = config.dim
        self.attention_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = MemoryAttention(dim, config.heads, config.kernel)
        self.ff_norm = nn.LayerNorm(dim)
        self.ff = nn.Sequential(Linear(dim, 4 * dim), nn.GELU(), Linear(4 * dim, dim))

    def forward(self, frames: Frames) -> Frames:
        x = frames.data + self.attention(frames.like(self.attention_norm(frames.data)))
        return frames.like(x + self.ff(self.ff_norm(x)))


class S3Tokenizer(nn.Module):
    """Speech to codes at 25 Hz; see `encode`. Not streamable: each code depends on the whole recording."""

    def __init__(self, config: S3Config | None = None) -> None:
        super().__init__()
        self.config = c = config or S3Config()
        self.mel = LogMel(c.mel)
        self.conv1 = Conv1d(c.mel.features, c.dim, 1, 1, stride=2)
        self.conv2 = Conv1d(c.dim, c.dim, 1, 1, stride=2)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.project = Linear(c.dim, len(c.levels))
        self.quantiser = FSQ(c.levels)

    def hidden(self, mel: Frames) -> Frames:
        """Log-mel frames [b, t, features] -> encoder frames [b, ceil(t / 4), dim]."""
        frames = mel.like(mel.data.to(self.project.weight.dtype))
        for conv in (self.conv1, self.conv2):
            frames = conv(frames)
            frames = frames.like(gelu(frames.data))
        for block in self.blocks:
            frames = block(frames)
        return frames

    def codes(self, mel: Frames) -> Frames:
        """Log-mel frames [b, t, features] -> codes [b, ceil(t / 4)], int64; 0 behind the end of a signal."""
        frames = self.hidden(mel)
        codes = self.quantiser.encode(self.project(frames.data))
        return frames.like(codes.masked_fill(frames.place.outside, 0))

    def forward(self, frames: Frames) -> Frames:
        """Samples [b, n] of whole recordings of up to 30 s, 16 kHz -> codes [b, t], int64; 0 behind the end."""
        return self.codes(self.mel(frames))

    @torch.inference_mode()
    def encode(self, samples: Tensor | np.ndarray, sample_rate: float = RATE) -> Tensor:
        """The codes of one recording of any length. samples: mono [n] in [-1, 1] -> [t], int64, on the CPU.

        Raises:
            SpeechError: the samples are not mono, not finite, or less than one code (40 ms).
        """
        x = recording(samples, sample_rate, shortest=SHORTEST).to(self.mel.window.device)
        mel = self.mel(Frames.whole(x[None])).data
        return in_windows(mel[0], lambda part: self.codes(Frames.whole(part[None])).data[0]).cpu()


def in_windows(mel: Tensor, codes: Callable[[Tensor], Tensor]) -> Tensor:
    """Tokenise log-mel frames [t, features] of any length by `codes`, which takes windows of up to 30 s.

    Windows overlap by 4 s; where two meet, each gives up the 2 s at its edge. -> codes [ceil(t / 4)].
    """
    edge, pieces = OVERLAP // 2 // FACTOR, []
    for start in range(0, max(len(mel) - OVERLAP, 1), WINDOW - OVERLAP):
        piece = codes(mel[start : start + WINDOW])
        last = start + WINDOW >= len(mel)
        pieces.append(piece[edge if start else 0 : None if last else -edge])
    return torch.cat(pieces)
