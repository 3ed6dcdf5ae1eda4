"""The diffusion transformer of CosyVoice 3's flow and of MeanVC (Peebles and Xie 2023, arXiv 2212.09748)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from speech.flow.estimator import Estimator
from speech.flow.layers import Context, FeedForward, TimeEmbedding
from speech.kernels.linear import Linear
from speech.kernels.norm import add_modulate, modulate
from speech.streaming.attention import Attention, Rotary
from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames
from speech.streaming.module import Residual, Sequential, State

GROUPS = 16
"""Of the convolutions that tell positions."""

SINES = 256
"""Sines and cosines that embed a time."""


@dataclass(frozen=True)
class DiTConfig:
    """Defaults: CosyVoice 3. inputs: channels of a frame (default: 4 * mel, for x | mu | speaker | prompt).

    position_conv: frames that each of two causal convolutions with 16 groups sees in front of the layers, 0 for none.
    rotary_heads: how many heads, the first, have rotary positions; None: all. qk_norm: queries and keys are normed.
    interval: it is called with intervals of time, for mean flows. time_scale: of times in their sines, less for mean
    flows. rate: frames a token, in which contexts are given.
    """

    mel: int = 80
    inputs: int | None = None
    dim: int = 1024
    layers: int = 22
    heads: int = 16
    head_dim: int = 64
    ff_expansion: int = 2
    position_conv: int = 31
    rotary_heads: int | None = 1
    qk_norm: bool = False
    dropout: float = 0.0
    interval: bool = False
    time_scale: float = 1000.0
    rate: int = 2

    @property
    def width(self) -> int:
        """Channels of a frame."""
        return self.inputs or 4 * self.mel


class DiTLayer(Sequential):
    """Attention and feed-forward, whose scale, shift and gate time decides (adaLN-zero). [b, t, d] -> [b, t, d]."""

    attention: Attention
    ff: FeedForward

    def __init__(self, config: DiTConfig, context: Context) -> None:
        attention = Attention(
            config.dim,
            config.heads,
            **context.attention(config.rate),
            position=Rotary(interleaved=True, heads=config.rotary_heads),
            head_dim=config.head_dim,
            qk_norm=config.qk_norm,
            dropout=config.dropout,
        )
        ff = FeedForward(config.dim, config.dim * config.ff_expansion, nn.GELU("tanh"), config.dropout)
        super().__init__(attention=attention, ff=ff)

    def forward(self, frames: Frames, time: Tensor, allowed: Tensor | None = None) -> Frames:  # type: ignore[override]
        return self._mixed(frames, self.attention(self._normed(frames, time), allowed), time)

    def step(  # type: ignore[override]
        self, frames: Frames, state: State, slots: Tensor, time: Tensor, keep: int | None = None
    ) -> Frames:
        attended = self.attention.step(self._normed(frames, time), state["attention"], slots, keep)
        return self._mixed(frames, attended, time)

    def _normed(self, frames: Frames, time: Tensor) -> Frames:
        shift, scale = time.chunk(6, -1)[:2]
        return frames.like(modulate(frames.data, scale, shift))

    def _mixed(self, frames: Frames, attended: Frames, time: Tensor) -> Frames:
        _, _, gate, shift, scale, ff_gate = time.chunk(6, -1)
        x, normed = add_modulate(frames.data, attended.data, gate, scale, shift)
        return attended.like(torch.addcmul(x, ff_gate, self.ff(normed)))


class DiT(Estimator):
    """A diffusion transformer over frames. [b, t, inputs] -> [b, t, mel].

    context: of all layers, or one for each. In two parts, `prepare` and what follows, for those who put frames of their
    own making between the prepared ones.
    """

    prepare: Sequential
    layers: Sequential
    out: Linear
    config: DiTConfig

    def __init__(self, config: DiTConfig, context: Context | tuple[Context, ...]) -> None:
        dim = config.dim
        contexts = context if isinstance(context, tuple) else (context,) * config.layers
        if len(contexts) != config.layers:
            raise ValueError(f"expected a context for each of {config.layers} layers, got {len(contexts)}")
        prepare: dict[str, nn.Module] = {"linear": Linear(config.width, dim)}
        if config.position_conv:
            past = config.position_conv - 1
            convs = Sequential(
                conv1=Conv1d(dim, dim, past, groups=GROUPS),
                act1=nn.Mish(),
                conv2=Conv1d(dim, dim, past, groups=GROUPS),
                act2=nn.Mish(),
            )
            prepare["position"] = Residual(dim, convs)
        super().__init__(
            config,
            context,
            prepare=Sequential(**prepare),
            layers=Sequential(**{f"{i}": DiTLayer(config, own) for i, own in enumerate(contexts)}),
            out=Linear(dim, config.mel),
        )
        self.time = TimeEmbedding(SINES, dim, interval=config.interval, scale=config.time_scale)
        self.modulations = nn.ModuleList(Linear(dim, 6 * dim) for _ in range(config.layers))
        self.out_modulation = Linear(dim, 2 * dim)

    def modulate(self, t: Tensor, r: Tensor | None = None) -> list[Tensor]:
        time = silu(self.time(t, r))
        return [linear(time)[:, None] for linear in (*self.modulations, self.out_modulation)]

    def forward(self, frames: Frames, time: list[Tensor]) -> Frames:  # type: ignore[override]
        return self.follow(self.prepare(frames), time)

    def step(self, frames: Frames, state: State, slots: Tensor, time: list[Tensor]) -> Frames:  # type: ignore[override]
        x = self.prepare.step(frames, state.get("prepare", {}), slots)
        return self.follow_step(x, state["layers"], slots, time)

    def follow(self, x: Frames, time: list[Tensor], allowed: Tensor | None = None) -> Frames:
        """What follows `prepare` on whole signals. x: [b, t, dim]; allowed: see `Attention` -> [b, t, mel]."""
        for layer, modulation in zip(self.layers.children(), time[:-1], strict=True):
            x = layer(x, modulation, allowed)
        return self._finished(x, time[-1])

    def follow_step(
        self, x: Frames, state: State, slots: Tensor, time: list[Tensor], keep: int | None = None
    ) -> Frames:
        """What follows `prepare` in one chunk; state: that of `layers`; keep: see `Attention`. -> [b, t, mel]."""
        for (name, layer), modulation in zip(self.layers.named_children(), time[:-1], strict=True):
            assert isinstance(layer, DiTLayer)
            x = layer.step(x, state[name], slots, modulation, keep)
        return self._finished(x, time[-1])

    def _finished(self, x: Frames, time: Tensor) -> Frames:
        scale, shift = time.chunk(2, -1)
        return x.like(self.out(modulate(x.data, scale, shift)))
