"""The speaker encoder of MeanVC: hidden layers of WavLM under an ECAPA-TDNN (Chen et al. 2022, arXiv 2110.13900)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

from speech.content.ecapa import ECAPA, ECAPAConfig
from speech.content.reference import RATE, VOICE_SECONDS, recording
from speech.errors import SpeechError
from speech.kernels.linear import Linear
from speech.streaming.frames import Frames


@dataclass(frozen=True)
class WavLMConfig:
    """A WavLM whose layers begin with their norms. Defaults: WavLM-Large, 315 M parameters.

    conv_channels, conv_kernels, conv_strides: of the convolutions that turn samples into frames (by default of 20 ms).
    position_kernel, position_groups: of the convolution that tells positions. buckets: how many ranges of distances the
    attention tells apart; from `distance` on all are one. Raises SpeechError for sizes that cannot be built.
    """

    dim: int = 1024
    layers: int = 24
    heads: int = 16
    ff_hidden: int = 4096
    conv_channels: int = 512
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    position_kernel: int = 128
    position_groups: int = 16
    buckets: int = 320
    distance: int = 800

    def __post_init__(self) -> None:
        if len(self.conv_kernels) != len(self.conv_strides) or self.buckets % 4 or self.distance <= self.buckets // 4:
            raise SpeechError(
                "expected a stride for each kernel, buckets in multiples of 4 and a distance beyond a quarter of them, "
                f"got {len(self.conv_kernels)} kernels, {len(self.conv_strides)} strides, {self.buckets} buckets and "
                f"distance {self.distance}: correct them"
            )


@dataclass(frozen=True)
class WavLMSpeakerConfig:
    """A WavLM under an ECAPA-TDNN. Defaults: the public `wavlm_large_finetune`."""

    wavlm: WavLMConfig = field(default_factory=WavLMConfig)
    ecapa: ECAPAConfig = field(default_factory=ECAPAConfig)


class FrontLayer(nn.Module):
    """Strided convolution without padding, layer norm over channels, GELU. [b, c, t] -> [b, c', t']."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, out_channels, kernel, stride, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return gelu(self.norm(self.conv(x).transpose(1, 2)).transpose(1, 2))


class PositionConv(nn.Module):
    """What frames around tell of a frame's position (Baevski et al. 2020, section 2). [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.transpose(1, 2))[:, :, : x.shape[1]]  # an even kernel gives one frame too many
        return gelu(y).transpose(1, 2)


class GatedAttention(nn.Module):
    """Self-attention whose bias for each distance is gated by the query (Chen et al. 2022, section III-B).

    The gate is computed from the layer's input: bias * (a * (b * scale - 1) + 2) with a, b in 0 .. 1.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = Linear(dim, 3 * dim), Linear(dim, dim)
        self.gate = nn.Linear(dim // heads, 2)
        self.scale = nn.Parameter(torch.ones(heads))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x: [b, t, d]; bias: [h, t, t] -> [b, t, d]."""
        part, q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (x, *self.qkv(x).chunk(3, -1)))
        a, b = self.gate(part).sigmoid().unbind(-1)  # [b, h, t]
        gain = a * (b * self.scale[:, None] - 1) + 2
        y = scaled_dot_product_attention(q, k, v, attn_mask=gain[..., None] * bias)
        return self.out(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and feed-forward, each a residual behind a norm. x: [b, t, d]; bias: [h, t, t] -> [b, t, d]."""

    def __init__(self, config: WavLMConfig) -> None:
        super().__init__()
        dim = config.dim
        self.attention_norm, self.attention = nn.LayerNorm(dim), GatedAttention(dim, config.heads)
        self.ff_norm = nn.LayerNorm(dim)
        self.ff = nn.Sequential(Linear(dim, config.ff_hidden), nn.GELU(), Linear(config.ff_hidden, dim))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), bias)
        return x + self.ff(self.ff_norm(x))


class WavLM(nn.Module):
    """Samples to the hidden states of a transformer; see `hidden`. Attends to whole recordings, so it has no `step`."""

    def __init__(self, config: WavLMConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or WavLMConfig()
        widths = [1] + [c.conv_channels] * len(c.conv_kernels)
        sizes = zip(widths[:-1], widths[1:], c.conv_kernels, c.conv_strides, strict=True)
        self.front = nn.Sequential(*(FrontLayer(*size) for size in sizes))
        self.front_norm = nn.LayerNorm(widths[-1])
        self.project = Linear(widths[-1], c.dim)
        self.position = PositionConv(c.dim, c.position_kernel, c.position_groups)
        self.bias = nn.Embedding(c.buckets, c.heads)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.dim)

    def hidden(self, samples: Tensor) -> Iterator[Tensor]:
        """The input of every layer, then the normed output of the last, each [b, t, dim].

        samples: [b, n] of whole recordings of one length, 16 kHz, of mean 0 and variance 1.
        """
        x = self.project(self.front_norm(self.front(samples[:, None]).transpose(1, 2)))
        x = x + self.position(x)
        index = torch.arange(x.shape[1], device=x.device)
        at = bucket(index - index[:, None], self.config.buckets, self.config.distance)
        bias = self.bias(at).permute(2, 0, 1)
        for layer in self.layers:
            yield x
            x = layer(x, bias)
        yield self.norm(x)


class WavLMSpeakerEncoder(nn.Module):
    """Recordings to speaker vectors; see `embed`. It reads whole recordings, so it is no streaming module."""

    def __init__(self, config: WavLMSpeakerConfig | None = None) -> None:
        super().__init__()
        self.config = config or WavLMSpeakerConfig()
        self.wavlm = WavLM(self.config.wavlm)
        self.mix = nn.Parameter(torch.zeros(self.config.wavlm.layers + 1))
        self.ecapa = ECAPA(self.config.ecapa)

    def forward(self, frames: Frames) -> Tensor:
        """Samples [b, n] of whole recordings of one length, 16 kHz -> speaker vectors [b, dim], of any length."""
        x = layer_norm(frames.data, frames.data.shape[1:]).to(self.mix.dtype)
        weighed = (weight * state for weight, state in zip(self.mix.softmax(0), self.wavlm.hidden(x), strict=True))
        return self.ecapa(reduce(torch.add, weighed))

    @torch.inference_mode()
    def embed(self, samples: Tensor | np.ndarray, sample_rate: float = RATE) -> Tensor:
        """The vector of one speaker, [dim], float32 on the CPU. samples: mono [n] in [-1, 1].

        Raises:
            SpeechError: the recording is not mono, not finite, shorter than 0.5 s or silent.
        """
        x = recording(samples, sample_rate, shortest=VOICE_SECONDS, audible=True).to(self.mix.device)
        return self(Frames.whole(x[None]))[0].float().cpu()


def bucket(distance: Tensor, buckets: int, farthest: int) -> Tensor:
    """The range in which a distance lies, 0 .. buckets - 1, of one half for each direction (Raffel et al. 2020).

    The first half of the ranges hold one distance each, the others grow by a constant factor up to `farthest`.
    distance: int64, of any shape; so is what is returned.
    """
    half, single = buckets // 2, buckets // 4
    ago = distance.abs()
    grown = (ago.clamp(min=1) / single).log() / math.log(farthest / single) * (half - single)
    wide = (single + grown.long()).clamp(max=half - 1)
    return half * (distance > 0) + torch.where(ago < single, ago, wide)
