"""Residual blocks of dilated convolutions with snake activations, as in BigVGAN and HiFT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speech.kernels.snake import snake
from speech.streaming.module import Parallel, Residual, Sequential
from speech.vocoder.layers import DenseConv1d, context


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha with a learned alpha a channel (Ziyin et al. 2020, arXiv 2006.08195). x: [b, t, d]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return snake(x, self.alpha)


class ResBlock(Sequential):
    """For every dilation: snake, dilated convolution, snake, convolution, added to the input. [b, t, d] -> [b, t, d].

    Kong et al. 2020 (HiFi-GAN, arXiv 2010.05646) with the activation of Lee et al. 2023 (BigVGAN, arXiv 2206.04658).
    """

    def __init__(self, dim: int, kernel: int, dilations: tuple[int, ...], *, causal: bool) -> None:
        units = {}
        for i, dilation in enumerate(dilations):
            unit = Sequential(
                snake1=Snake(dim),
                conv1=DenseConv1d(dim, dim, *context(kernel, dilation, causal=causal), dilation=dilation),
                snake2=Snake(dim),
                conv2=DenseConv1d(dim, dim, *context(kernel, causal=causal)),
            )
            units[f"unit{i}"] = Residual(dim, unit)
        super().__init__(**units)


class ResBlocks(Parallel):
    """The mean of residual blocks of several kernel sizes. [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int, kernels: tuple[int, ...], dilations: tuple[int, ...], *, causal: bool) -> None:
        blocks = {f"block{i}": ResBlock(dim, kernel, dilations, causal=causal) for i, kernel in enumerate(kernels)}
        super().__init__(dim, mean, **blocks)


def mean(*parts: Tensor) -> Tensor:
    """The mean of tensors of one shape."""
    return sum(parts[1:], start=parts[0]) / len(parts)
