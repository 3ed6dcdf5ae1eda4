"""Tiny random tensors under the names of public HiFT checkpoints, and a plain evaluation of version 3 on them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d, elu, leaky_relu, pad

RATES, KERNELS, SOURCE_KERNELS = (8, 5, 3), (3, 7, 11), (7, 7, 11)
FEATURES, DIM, F0_DIM, HARMONICS = 6, 16, 8, 9


def public_hift(*, causal: bool) -> dict[str, Tensor]:
    """A `hift.pt` of version 3 (`causal`) or 2, small."""
    generator = torch.Generator().manual_seed(0)
    out: dict[str, Tensor] = {}

    def draw(name: str, *shape: int, bias: int | None = None, scale: float = 1.0) -> None:
        """A weight as gain and direction, and its bias."""
        v = torch.randn(shape, generator=generator)
        g = scale * (1 + 0.1 * torch.randn(shape[0], *[1] * (len(shape) - 1), generator=generator).abs())
        out[f"{name}.parametrizations.weight.original0"], out[f"{name}.parametrizations.weight.original1"] = g, v
        out[f"{name}.bias"] = 0.1 * torch.randn(shape[0] if bias is None else bias, generator=generator)

    def block(name: str, dim: int, kernel: int) -> None:
        for i in range(3):
            for j in (1, 2):
                draw(f"{name}.convs{j}.{i}", dim, dim, kernel, scale=0.5)
                out[f"{name}.activations{j}.{i}.alpha"] = 0.5 + torch.rand(dim, generator=generator)

    out["m_source.l_linear.weight"] = torch.randn(1, HARMONICS, generator=generator)
    out["m_source.l_linear.bias"] = torch.randn(1, generator=generator)
    out["f0_predictor.classifier.weight"] = torch.randn(1, F0_DIM, generator=generator)
    out["f0_predictor.classifier.bias"] = torch.tensor([120.0])
    for i in range(5):
        draw(f"f0_predictor.condnet.{2 * i}", F0_DIM, F0_DIM if i else FEATURES, 4 if causal and not i else 3)
    draw("conv_pre", DIM, FEATURES, 5 if causal else 7)
    for i, (kernel, stride) in enumerate(zip((16, 11, 7), (15, 3, 1), strict=True)):
        dim = DIM >> (i + 1)
        shape = (dim, 2 * dim) if causal else (2 * dim, dim)
        draw(f"ups.{i}", *shape, kernel, bias=dim)
        down = 2 * stride if stride > 1 else 1
        out[f"source_downs.{i}.weight"] = torch.randn(dim, 18, down, generator=generator)
        out[f"source_downs.{i}.bias"] = torch.randn(dim, generator=generator)
        block(f"source_resblocks.{i}", dim, SOURCE_KERNELS[i])
        for j, size in enumerate(KERNELS):
            block(f"resblocks.{3 * i + j}", dim, size)
    draw("conv_post", 18, DIM >> 3, 7, scale=0.1)
    return out


class ReferenceV3:
    """Version 3 on whole signals, step by step as published, channels first."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def conv(self, x: Tensor, name: str, left: int = 0, right: int = 0, stride: int = 1, dilation: int = 1) -> Tensor:
        """A convolution of the layer `name` over x between zeros."""
        weight = self.tensors.get(f"{name}.weight")
        if weight is None:
            g, v = (self.tensors[f"{name}.parametrizations.weight.original{i}"] for i in (0, 1))
            weight = g * v / v.square().sum((1, 2), keepdim=True).sqrt()
        return conv1d(pad(x, (left, right)), weight, self.tensors[f"{name}.bias"], stride, dilation=dilation)

    def block(self, x: Tensor, name: str, kernel: int) -> Tensor:
        """A residual block of dilations 1, 3, 5."""
        for i, dilation in enumerate((1, 3, 5)):
            y = x
            for j, d in ((1, dilation), (2, 1)):
                alpha = self.tensors[f"{name}.activations{j}.{i}.alpha"][:, None]
                y = y + (alpha * y).sin() ** 2 / (alpha + 1e-9)
                y = self.conv(y, f"{name}.convs{j}.{i}", left=(kernel - 1) * d, dilation=d)
            x = x + y
        return x

    def f0(self, mel: Tensor) -> Tensor:
        """[1, features, t] -> [1, t]."""
        x = elu(self.conv(mel, "f0_predictor.condnet.0", right=3))
        for i in range(2, 10, 2):
            x = elu(self.conv(x, f"f0_predictor.condnet.{i}", left=2))
        weight, bias = (self.tensors[f"f0_predictor.classifier.{part}"] for part in ("weight", "bias"))
        return (weight @ x + bias).abs()[:, 0]

    def source(self, f0: Tensor, noise: Tensor) -> Tensor:
        """f0: [1, t]; noise: [480 t, harmonics] -> [1, 480 t]."""
        turns = f0[0, :, None].double() * torch.arange(1, HARMONICS + 1) / 24000
        sines = 0.1 * (2 * torch.pi * 480 * turns.cumsum(0)).sin().float().repeat_interleave(480, 0)
        voiced = (f0[0] > 10).float().repeat_interleave(480)[:, None]
        x = voiced * sines + noise * (0.003 * voiced + 0.1 / 3 * (1 - voiced))
        return (x @ self.tensors["m_source.l_linear.weight"].T + self.tensors["m_source.l_linear.bias"]).tanh().T

    def body(self, mel: Tensor, source: Tensor) -> Tensor:
        """[1, features, t], [1, 480 t] -> samples [1, 480 t]."""
        window = torch.hann_window(16)
        spectrum = torch.stft(source, 16, 4, window=window, return_complex=True)
        spectrum = torch.cat([spectrum.real, spectrum.imag], 1)
        x = self.conv(mel, "conv_pre", right=4)
        for i, (rate, kernel, stride) in enumerate(zip(RATES, (16, 11, 7), (15, 3, 1), strict=True)):
            x = self.conv(leaky_relu(x, 0.1).repeat_interleave(rate, 2), f"ups.{i}", left=kernel - 1)
            if i == 2:
                x = pad(x, (1, 0), mode="reflect")
            added = self.conv(spectrum, f"source_downs.{i}", left=stride - 1, stride=stride)
            x = x + self.block(added, f"source_resblocks.{i}", SOURCE_KERNELS[i])
            x = sum(self.block(x, f"resblocks.{3 * i + j}", size) for j, size in enumerate(KERNELS)) / 3
        x = self.conv(leaky_relu(x), "conv_post", left=6)
        spectrum = torch.polar(x[:, :9].exp().clamp(max=100), x[:, 9:].sin())
        return torch.istft(spectrum, 16, 4, window=window).clamp(-0.99, 0.99)
