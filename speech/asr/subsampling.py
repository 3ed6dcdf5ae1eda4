"""Depthwise-striding subsampling: log-mel frames to encoder frames at an eighth of the rate."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu

from speech.kernels.linear import Linear
from speech.streaming.conv import Conv2d
from speech.streaming.frames import Frames
from speech.streaming.module import Pointwise, Sequential, State, Streaming

FACTOR = 8
"""Mel frames to an encoder frame."""


class AddBand(Streaming):
    """Gives mel frames the channel axis that 2-D convolutions want. [b, t, f] -> [b, t, f, 1]."""

    def forward(self, frames: Frames) -> Frames:
        return frames.like(frames.data[..., None])

    def step(self, frames: Frames, state: State, slots: torch.Tensor) -> Frames:
        return self.forward(frames)


class Flatten(nn.Module):
    """[b, t, f, c] -> [b, t, f * c], frequency first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2)


class Subsampling(Sequential):
    """Three strided convolutions over time and frequency, 8x (Rekesh et al. 2023, arXiv 2305.05084).

    Causal: every convolution pads (left 2, right 1) on both axes; its time state is its own two last frames, so no
    chunk depends on another's padding and look-ahead 0 is exact. Not causal: padding 1 on every side.

    [b, t, features] -> [b, floor((t + 6) / 8) + 1, dim], or [b, ceil(t / 8), dim] where it is not causal.
    """

    def __init__(self, features: int, channels: int, dim: int, *, causal: bool = True, bias: bool = True) -> None:
        left, right, below, above = (2, 0, 2, 1) if causal else (1, 1, 1, 1)
        layers: dict[str, nn.Module] = {"lift": AddBand()}
        bins, width = features, 1
        for i in range(3):
            groups = width if i else 1
            conv = Conv2d(
                width, channels, left, right, bins=bins, below=below, above=above, stride=2, groups=groups, tail=1
            )
            layers[f"conv{i}"] = conv
            if i:
                layers[f"mix{i}"] = Pointwise(Linear(channels, channels))
            layers[f"relu{i}"] = Pointwise(relu)
            bins, width = conv.out_bins, channels
        super().__init__(**layers, flatten=Pointwise(Flatten()), out=Pointwise(Linear(bins * channels, dim, bias=bias)))
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Weights of variance 2 / fan-in before a ReLU (He et al. 2015, arXiv 1502.01852), of 1 / fan-in elsewhere."""
        # PyTorch's default shrinks the signal from layer to layer until the biases drown it: an output of mean 0.05
        # that changes over time by 0.006 only, on which CTC training stands still for thousands of steps.
        for name, parameter in self.named_parameters():
            if parameter.is_meta:  # nothing to fill, and `normal_` would first import a second's worth of PyTorch
                continue
            if parameter.dim() == 1:
                parameter.zero_()
            else:
                gain = 1 if name.startswith("out.") else 2
                parameter.normal_(std=(gain / parameter[0].numel()) ** 0.5)
