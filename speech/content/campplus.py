"""CAM++: a recording to one vector that tells speakers apart (Wang et al. 2023, arXiv 2303.00332)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, relu

from speech.audio.mel import KALDI_FBANK, LogMel, MelConfig
from speech.content.reference import RATE, VOICE_SECONDS, recording
from speech.errors import SpeechError
from speech.streaming.frames import Frames

BANDS = 8
"""The 2-D front end halves the frequency axis three times."""


@dataclass(frozen=True)
class CAMPPlusConfig:
    """CAM++. Defaults: the public `campplus` of 7 M parameters.

    dim: of the speaker vector. front_channels: of the 2-D front end. channels: of the first time-delay layer. growth:
    channels that a dense layer adds; its bottleneck has `bottleneck` times as many. layers, dilations: dense layers of
    each block, and the dilation of their kernels. segment: frames of the shorter context of a mask. Raises SpeechError
    for blocks that do not fit.
    """

    mel: MelConfig = KALDI_FBANK
    dim: int = 192
    front_channels: int = 32
    channels: int = 128
    growth: int = 32
    bottleneck: int = 4
    layers: tuple[int, ...] = (12, 24, 16)
    dilations: tuple[int, ...] = (1, 2, 2)
    segment: int = 100

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.dilations) or self.mel.features % BANDS:
            raise SpeechError(
                f"expected one dilation a block and a multiple of {BANDS} features, got {len(self.layers)} blocks, "
                f"{len(self.dilations)} dilations and {self.mel.features} features"
            )


class Residual2d(nn.Module):
    """Two convolutions over frequency and time beside a shortcut (He et al. 2015). [b, c, f, t] -> [b, c, f', t].

    stride: of the frequency axis. valid: [b, 1, t], 1 inside the signal.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, (stride, 1), bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        y = relu(self.norm1(self.conv1(x))) * valid[:, None]
        return relu(self.norm2(self.conv2(y)) + self.shortcut(x)) * valid[:, None]


class Front(nn.Module):
    """The 2-D front end: patterns that may shift in frequency. [b, features, t] -> [b, channels * features / 8, t]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList(Residual2d(channels, stride) for stride in (2, 1, 2, 1))
        self.conv2 = nn.Conv2d(channels, channels, 3, (2, 1), 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = relu(self.norm1(self.conv1(x[:, None]))) * valid[:, None]
        for block in self.blocks:
            x = block(x, valid)
        x = relu(self.norm2(self.conv2(x))) * valid[:, None]
        return x.flatten(1, 2)


class MaskedTDNN(nn.Module):
    """A time-delay layer under a context-aware mask (Wang et al. 2023, section 2.2). [b, c, t] -> [b, growth, t].

    Each channel is scaled by a sigmoid of what the frames hold on average, over the whole signal and over segments.
    """

    def __init__(self, channels: int, growth: int, dilation: int, segment: int) -> None:
        super().__init__()
        self.segment = segment
        self.local = nn.Conv1d(channels, growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.squeeze = nn.Conv1d(channels, channels // 2, 1)
        self.excite = nn.Conv1d(channels // 2, growth, 1)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x: [b, c, t], 0 where `valid`, [b, 1, t], is."""
        whole = x.sum(2, keepdim=True) / valid.sum(2, keepdim=True).clamp(min=1)
        sums, counts = (avg_pool1d(y, self.segment, ceil_mode=True) for y in (x, valid))
        parts = (sums / counts.clamp(min=1 / self.segment)).repeat_interleave(self.segment, 2)[:, :, : x.shape[2]]
        return self.local(x) * self.excite(relu(self.squeeze(whole + parts))).sigmoid()


class DenseLayer(nn.Module):
    """One layer of a densely connected block: its input and `growth` channels more. [b, c, t] -> [b, c + growth, t]."""

    def __init__(self, channels: int, config: CAMPPlusConfig, dilation: int) -> None:
        super().__init__()
        width = config.bottleneck * config.growth
        self.norm1 = nn.BatchNorm1d(channels)
        self.reduce = nn.Conv1d(channels, width, 1, bias=False)
        self.norm2 = nn.BatchNorm1d(width)
        self.tdnn = MaskedTDNN(width, config.growth, dilation, config.segment)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        y = relu(self.norm2(self.reduce(relu(self.norm1(x))))) * valid
        return torch.cat([x, self.tdnn(y, valid)], 1)


class Transition(nn.Module):
    """Behind a dense block: half as many channels. [b, c, t] -> [b, c / 2, t]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.reduce = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduce(relu(self.norm(x)))


class CAMPPlus(nn.Module):
    """The speaker encoder; see `embed`. It pools over whole recordings, so it is no streaming module.

    To be trained on crops of one length: in training, batch norm counts padding too.
    """

    def __init__(self, config: CAMPPlusConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or CAMPPlusConfig()
        self.fbank = LogMel(c.mel)
        self.front = Front(c.front_channels)
        self.tdnn = nn.Conv1d(c.front_channels * c.mel.features // BANDS, c.channels, 5, 2, 2, bias=False)
        self.tdnn_norm = nn.BatchNorm1d(c.channels)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        width = c.channels
        for count, dilation in zip(c.layers, c.dilations, strict=True):
            self.blocks.append(nn.ModuleList(DenseLayer(width + i * c.growth, c, dilation) for i in range(count)))
            width += count * c.growth
            self.transitions.append(Transition(width))
            width //= 2
        self.out_norm = nn.BatchNorm1d(width)
        self.out = nn.Linear(2 * width, c.dim, bias=False)
        self.vector_norm = nn.BatchNorm1d(c.dim, affine=False)

    def forward(self, frames: Frames) -> Tensor:
        """Samples [b, n] of whole recordings, 16 kHz -> speaker vectors [b, dim], of any length."""
        return self.vectors(centred(self.fbank(frames)))

    def vectors(self, fbank: Frames) -> Tensor:
        """Filter-bank frames less their mean over time, [b, t, features], t >= 3 -> speaker vectors [b, dim]."""
        valid = fbank.place.valid[:, None].to(self.out.weight.dtype)  # [b, 1, t]
        x = self.front(fbank.zeroed().transpose(1, 2).to(valid.dtype), valid)
        x, valid = self.tdnn(x), valid[:, :, ::2]
        x = relu(self.tdnn_norm(x))
        for block, transition in zip(self.blocks, self.transitions, strict=True):
            for layer in block:  # type: ignore[attr-defined]
                x = layer(x, valid)
            x = transition(x)
        return self.vector_norm(self.out(pooled(relu(self.out_norm(x)), valid)))

    @torch.inference_mode()
    def embed(self, samples: Tensor | np.ndarray, sample_rate: float = RATE) -> Tensor:
        """The vector of one speaker, [dim], float32 on the CPU. samples: mono [n] in [-1, 1].

        Raises:
            SpeechError: the recording is not mono, not finite, shorter than 0.5 s or silent.
        """
        x = recording(samples, sample_rate, shortest=VOICE_SECONDS, audible=True).to(self.fbank.window.device)
        return self(Frames.whole(x[None]))[0].float().cpu()


def centred(fbank: Frames) -> Frames:
    """Filter-bank frames [b, t, f] less the mean of each signal over time."""
    mean = fbank.zeroed().sum(1) / fbank.lengths.clamp(min=1)[:, None]
    return fbank.like(fbank.data - mean[:, None])


def pooled(x: Tensor, valid: Tensor) -> Tensor:
    """Mean and unbiased standard deviation over time. x: [b, c, t]; valid: [b, 1, t] -> [b, 2 * c]."""
    count = valid.sum(2)
    mean = (x * valid).sum(2) / count.clamp(min=1)
    square = ((x - mean[:, :, None]).square() * valid).sum(2)
    variance = square / (count - 1).clamp(min=1)
    return torch.cat([mean, variance.clamp(min=1e-10).sqrt()], 1)  # the root of 0 has no finite gradient
