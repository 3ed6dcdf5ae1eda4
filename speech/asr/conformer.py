"""One Conformer layer (Gulati et al. 2020, arXiv 2005.08100) under the streaming contract."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, silu

from speech.kernels.depthwise import depthwise_conv
from speech.kernels.feed_forward import linear_act, linear_add_norm
from speech.kernels.linear import Linear
from speech.kernels.norm import add_norm
from speech.streaming.attention import Attention
from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames
from speech.streaming.module import Pointwise, Residual, Sequential, State, Streaming, hold

Norm = Literal["layer_norm", "batch_norm"]


class FeedForward(nn.Module):
    """Norm, linear, SiLU, linear. [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int, hidden: int, *, bias: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up, self.down = Linear(dim, hidden, bias=bias), Linear(hidden, dim, bias=bias)
        self.activation, self.dropout = nn.SiLU(), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.down(self._hidden(self.norm(x))))

    def add_norm(self, x: Tensor, y: Tensor, norm: nn.LayerNorm, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        """s = x + scale * what this layer makes of y, which is normed already, and the norm of s; each [b, t, d]."""
        hidden = self._hidden(y)
        if self.training:
            return add_norm(x, self.dropout(self.down(hidden)), norm, scale=scale)
        return linear_add_norm(hidden, self.down, x, norm, scale=scale)

    def _hidden(self, x: Tensor) -> Tensor:
        return self.dropout(linear_act(x, self.up, self.activation))


class BatchNorm(Streaming):
    """Batch norm over channels; in training only frames inside their stream count. [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, frames: Frames) -> Frames:
        if not self.training:
            return frames.like(self.norm(frames.data.flatten(0, 1)).view_as(frames.data))
        valid = frames.place.valid
        out = torch.zeros_like(frames.data)
        out[valid] = self.norm(frames.data[valid])
        return frames.like(out)

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        return frames.like(self.norm(frames.data.flatten(0, 1)).view_as(frames.data))


class Level(nn.Module):
    """x less a level for each channel: what the next layer takes for zero, the frames outside a stream, has that level.

    [b, t, d] -> [b, t, d].
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.level


class Convolution(Sequential):
    """Norm, pointwise, GLU, depthwise over time, norm, SiLU, pointwise. [b, t, d] -> [b, t, d].

    level: what lies outside the stream is, behind the GLU, not zero but a `Level`.
    """

    norm: nn.LayerNorm
    gate: Linear
    depthwise: Conv1d
    inner_norm: nn.LayerNorm | BatchNorm
    out: Linear
    dropout: nn.Dropout

    def __init__(
        self, dim: int, left: int, right: int, *, norm: Norm, bias: bool, dropout: float, level: bool = False
    ) -> None:
        super().__init__(
            norm=nn.LayerNorm(dim),
            gate=Linear(dim, 2 * dim, bias=bias),
            glu=Pointwise(lambda x: glu(x, -1)),
            **({"level": Level(dim)} if level else {}),
            depthwise=Conv1d(dim, dim, left, right, groups=dim, bias=bias),
            inner_norm=nn.LayerNorm(dim) if norm == "layer_norm" else BatchNorm(dim),
            act=Pointwise(silu),
            out=Linear(dim, dim, bias=bias),
            dropout=nn.Dropout(dropout),
        )
        self.levelled = level

    def step_from(self, begin: int, frames: Frames, state: State, slots: Tensor) -> Frames:
        """begin: 0, or 1 for frames that are normed already."""
        conv, norm = self.depthwise, self.inner_norm
        y = depthwise_conv(
            self.gate(frames.data if begin else self.norm(frames.data)),
            frames.place.outside,
            state["depthwise"]["tail"],
            slots,
            conv.weight,
            conv.bias,
            level=self.get_parameter("level.level") if self.levelled else None,
            norm=norm if isinstance(norm, nn.LayerNorm) else norm.norm,
            activate=True,
        )
        return Frames(self.dropout(self.out(y)), conv.moved(frames.place, frames.place.count))


class Attend(Sequential):
    """Norm, attention, dropout. [b, t, d] -> [b, t, d]."""

    norm: nn.LayerNorm


class ConformerLayer(Sequential):
    """Half feed-forward, attention, convolution, half feed-forward, norm; each a residual. [b, t, d] -> [b, t, d].

    Every branch but the first is given frames that are normed already: they are made with the sum before it.
    """

    ff1: Residual
    attention: Residual
    conv: Residual
    ff2: Residual
    norm: nn.LayerNorm

    def __init__(
        self,
        attention: Attention,
        *,
        ff_hidden: int,
        conv_context: tuple[int, int],
        conv_norm: Norm,
        bias: bool,
        dropout: float,
        conv_level: bool = False,
    ) -> None:
        dim = attention.dim
        attend = Attend(norm=nn.LayerNorm(dim), attention=attention, dropout=nn.Dropout(dropout))
        conv = Convolution(dim, *conv_context, norm=conv_norm, bias=bias, dropout=dropout, level=conv_level)

        def feed_forward() -> Residual:
            return Residual(dim, Pointwise(FeedForward(dim, ff_hidden, bias=bias, dropout=dropout)), scale=0.5)

        super().__init__(
            ff1=feed_forward(),
            attention=Residual(dim, attend),
            conv=Residual(dim, conv),
            ff2=feed_forward(),
            norm=nn.LayerNorm(dim),
        )

    def forward(self, frames: Frames) -> Frames:
        ff1, attend, conv, ff2 = self._branches
        x, y = ff1.add_norm(frames.data, ff1.norm(frames.data), attend.norm, scale=0.5)
        x, y = add_norm(x, attend.forward_from(1, frames.like(y)).data, conv.norm)
        x, y = add_norm(x, conv.forward_from(1, frames.like(y)).data, ff2.norm)
        return frames.like(ff2.add_norm(x, y, self.norm, scale=0.5)[1])

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        ff1, attend, conv, ff2 = self._branches
        x, y = ff1.add_norm(frames.data, ff1.norm(frames.data), attend.norm, scale=0.5)
        out = attend.step_from(1, frames.like(y), state["attention"]["branch"], slots)
        frames = hold(frames.like(x), out.place.phase, state["attention"].get("wait", {}), slots)
        x, y = add_norm(frames.data, out.data, conv.norm)
        out = conv.step_from(1, frames.like(y), state["conv"]["branch"], slots)
        frames = hold(frames.like(x), out.place.phase, state["conv"].get("wait", {}), slots)
        x, y = add_norm(frames.data, out.data, ff2.norm)
        return frames.like(ff2.add_norm(x, y, self.norm, scale=0.5)[1])

    @property
    def _branches(self) -> tuple[FeedForward, Attend, Convolution, FeedForward]:
        ff1, attend, conv, ff2 = (residual.branch for residual in (self.ff1, self.attention, self.conv, self.ff2))
        return ff1.module, attend, conv, ff2.module  # type: ignore[return-value]
