"""The causal convolutional and transformer network of CosyVoice 2's flow (Du et al. 2024, arXiv 2412.10117).

It has the shape of Matcha-TTS's U-Net (Mehta et al. 2024) without its change of rate: a stage, stages in the middle,
and a stage that also sees the first one's output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speech.flow.estimator import Estimator
from speech.flow.layers import Context, TimeEmbedding, TransformerLayer
from speech.kernels.linear import Linear
from speech.streaming.attention import Attention
from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames
from speech.streaming.module import Sequential, State


@dataclass(frozen=True)
class UNetConfig:
    """Defaults: CosyVoice 2. layers: transformer layers a stage; middle: stages between the first and the last.

    interval: it is called with intervals of time, for mean flows. rate: frames a token, in which contexts are given.
    """

    mel: int = 80
    dim: int = 256
    time_dim: int = 1024
    layers: int = 4
    middle: int = 12
    heads: int = 8
    head_dim: int = 64
    ff_expansion: int = 4
    dropout: float = 0.0
    interval: bool = False
    rate: int = 2


class Block(Sequential):
    """Causal convolution over three frames, layer norm, Mish. [b, t, d] -> [b, t, d']."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__(conv=Conv1d(dim, out_dim, 2), norm=nn.LayerNorm(out_dim), act=nn.Mish())


class Resnet(Sequential):
    """Two blocks with time added between them, around a projected residual. [b, t, d] -> [b, t, d']."""

    block1: Block
    block2: Block
    skip: Linear

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__(block1=Block(dim, out_dim), block2=Block(out_dim, out_dim), skip=Linear(dim, out_dim))

    def forward(self, frames: Frames, time: Tensor) -> Frames:  # type: ignore[override]
        y = self.block1(frames)
        y = self.block2(y.like(y.data + time))
        return y.like(y.data + self.skip(frames.data))

    def step(self, frames: Frames, state: State, slots: Tensor, time: Tensor) -> Frames:  # type: ignore[override]
        y = self.block1.step(frames, state["block1"], slots)
        y = self.block2.step(y.like(y.data + time), state["block2"], slots)
        return y.like(y.data + self.skip(frames.data))


class Stage(Sequential):
    """A resnet, which time enters, and transformer layers. [b, t, d] -> [b, t, d']."""

    resnet: Resnet
    layers: Sequential

    def __init__(self, dim: int, config: UNetConfig, context: Context) -> None:
        def layer() -> TransformerLayer:
            attention = Attention(
                config.dim,
                config.heads,
                **context.attention(config.rate),
                position="none",
                head_dim=config.head_dim,
                bias=False,
                out_bias=True,
                dropout=config.dropout,
            )
            return TransformerLayer(attention, config.dim * config.ff_expansion, nn.GELU(), dropout=config.dropout)

        layers = Sequential(**{f"{i}": layer() for i in range(config.layers)})
        super().__init__(resnet=Resnet(dim, config.dim), layers=layers)

    def forward(self, frames: Frames, time: Tensor) -> Frames:  # type: ignore[override]
        return self.layers(self.resnet(frames, time))

    def step(self, frames: Frames, state: State, slots: Tensor, time: Tensor) -> Frames:  # type: ignore[override]
        return self.layers.step(self.resnet.step(frames, state["resnet"], slots, time), state["layers"], slots)


class UNet(Estimator):
    """CosyVoice 2's velocity network. [b, t, 4 * mel] -> [b, t, mel]."""

    first_stage: Stage
    first_conv: Conv1d
    middle: Sequential
    last_stage: Stage
    last_conv: Conv1d
    out: Sequential
    config: UNetConfig

    def __init__(self, config: UNetConfig, context: Context) -> None:
        dim = config.dim
        super().__init__(
            config,
            context,
            first_stage=Stage(4 * config.mel, config, context),
            first_conv=Conv1d(dim, dim, 2),
            middle=Sequential(**{f"{i}": Stage(dim, config, context) for i in range(config.middle)}),
            last_stage=Stage(2 * dim, config, context),
            last_conv=Conv1d(dim, dim, 2),
            out=Sequential(block=Block(dim, dim), linear=Linear(dim, config.mel)),
        )
        self.time = TimeEmbedding(4 * config.mel, config.time_dim, interval=config.interval)
        stages = config.middle + 2
        self.shifts = nn.ModuleList(Linear(config.time_dim, dim) for _ in range(stages))

    def modulate(self, t: Tensor, r: Tensor | None = None) -> list[Tensor]:
        time = nn.functional.mish(self.time(t, r))
        return [shift(time)[:, None] for shift in self.shifts]

    def forward(self, frames: Frames, time: list[Tensor]) -> Frames:  # type: ignore[override]
        skipped = self.first_stage(frames, time[0])
        x = self.first_conv(skipped)
        for stage, shift in zip(self.middle.children(), time[1:-1], strict=True):
            x = stage(x, shift)
        x = self.last_stage(x.like(torch.cat([x.data, skipped.data], -1)), time[-1])
        return self.out(self.last_conv(x))

    def step(self, frames: Frames, state: State, slots: Tensor, time: list[Tensor]) -> Frames:  # type: ignore[override]
        skipped = self.first_stage.step(frames, state["first_stage"], slots, time[0])
        x = self.first_conv.step(skipped, state["first_conv"], slots)
        for (name, stage), shift in zip(self.middle.named_children(), time[1:-1], strict=True):
            assert isinstance(stage, Stage)
            x = stage.step(x, state["middle"][name], slots, shift)
        joined = x.like(torch.cat([x.data, skipped.data], -1))
        x = self.last_stage.step(joined, state["last_stage"], slots, time[-1])
        return self.out.step(self.last_conv.step(x, state["last_conv"], slots), state["out"], slots)
