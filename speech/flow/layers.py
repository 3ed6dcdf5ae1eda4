"""What the flow's encoder and its velocity networks share: contexts, transformer layers, rates, embeddings of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from speech.errors import SpeechError
from speech.kernels.feed_forward import linear_act
from speech.kernels.linear import Linear
from speech.streaming.attention import Attention
from speech.streaming.frames import Frames
from speech.streaming.module import Parallel, Pointwise, Residual, Sequential, State, Streaming

M = TypeVar("M", bound=nn.Module)

FAR = 1 << 30
"""More frames than any signal has."""


@dataclass(frozen=True)
class Context:
    """What a frame may see, in tokens; a layer with several frames a token sees as many times more frames.

    chunk: a frame sees its own chunk of so many tokens, counted from the stream's start; None: the whole signal, which
    has no stream. left: the tokens before the chunk, a multiple of it; None: all of them, which has no stream either,
    since the memory of a stream is fixed: a `left` as long as the utterance gives the same numbers. sinks: the stream's
    first tokens, such as its prompt, that stay visible whatever `left` is. ahead: the first tokens of the next chunk,
    which are visible, too; only what brings them twice can stream them (see `Attention`). Raises SpeechError for what
    cannot be run.
    """

    chunk: int | None = 25
    left: int | None = 100
    sinks: int = 0
    ahead: int = 0

    def __post_init__(self) -> None:
        if self.chunk is None:
            return
        sizes = self.chunk >= 1 and self.sinks >= 0 and 0 <= self.ahead <= self.chunk
        if not sizes or (self.left is not None and (self.left < 0 or self.left % self.chunk)):
            raise SpeechError(
                "expected a chunk of at least one token, a left context that is a multiple of it, no negative number "
                f"of sinks and at most a chunk ahead, got chunk {self.chunk}, left {self.left}, sinks {self.sinks} and "
                f"ahead {self.ahead}: correct them"
            )

    @property
    def streams(self) -> bool:
        """Whether a stream can run in this context."""
        return self.chunk is not None and self.left is not None

    def attention(self, rate: int) -> dict[str, Any]:
        """The arguments of `Attention` in a layer of `rate` frames a token."""
        if self.chunk is None:
            return {"left": FAR, "right": FAR}
        left = FAR // self.chunk * self.chunk if self.left is None else self.left
        return {"chunk": rate * self.chunk, "left": rate * left, "sinks": rate * self.sinks, "ahead": rate * self.ahead}


def sharing(module: M, build: Callable[[], M]) -> M:
    """What `build` builds, of the same layout as `module`, on the very parameters of `module`."""
    with torch.device("meta"):
        other = build()
    other.load_state_dict(module.state_dict(keep_vars=True), assign=True)
    return other.train(module.training)


class FeedForward(nn.Module):
    """Linear, activation, linear. [..., d] -> [..., d]."""

    def __init__(self, dim: int, hidden: int, activation: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.up, self.down = Linear(dim, hidden), Linear(hidden, dim)
        self.activation, self.dropout = activation, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(linear_act(x, self.up, self.activation)))


class TransformerLayer(Sequential):
    """Attention and feed-forward, each behind a layer norm and inside a residual. [b, t, d] -> [b, t, d]."""

    def __init__(
        self, attention: Attention, hidden: int, activation: nn.Module, *, eps: float = 1e-5, dropout: float = 0.0
    ) -> None:
        def residual(layer: nn.Module) -> Residual:
            norm = nn.LayerNorm(attention.dim, eps=eps)
            return Residual(attention.dim, Sequential(norm=norm, layer=layer, dropout=nn.Dropout(dropout)))

        feed_forward = FeedForward(attention.dim, hidden, activation, dropout)
        super().__init__(attention=residual(attention), ff=residual(feed_forward))


class Split(Streaming):
    """Frames that hold the channels of `parts` frames of a higher rate. [b, t, parts * d] -> [b, t * parts, d]."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.up = parts

    def forward(self, frames: Frames) -> Frames:
        return self.placed(frames, frames.data.unflatten(2, (self.up, -1)).flatten(1, 2))

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        y = frames.data.unflatten(2, (self.up, -1)).flatten(1, 2)
        return Frames(y, self.moved(frames.place, y.shape[1]))


def beside(module: Streaming, dim: int, width: int) -> Parallel:
    """`module` on the first `dim` channels; the other `width` ride along and wait for it.

    [b, t, dim + width] -> [b, t', dim' + width / module.up]: where the module makes several frames of one, the riding
    channels hold what belongs to each of them, one after another.
    """
    if module.down != 1 or width % module.up:
        raise ValueError(f"expected {width} channels for {module.up}/{module.down} frames each, got a remainder")
    return Parallel(
        width // module.up,
        lambda *parts: torch.cat(parts, -1),
        module=Sequential(take=Pointwise(lambda x: x[..., :dim]), module=module),
        rest=Sequential(take=Pointwise(lambda x: x[..., dim:]), split=Split(module.up)),
    )


class TimeEmbedding(nn.Module):
    """Times in [0, 1] as vectors: sines and cosines, linear, SiLU, linear. t, r: [n] -> [n, dim].

    interval: for a network that averages over an interval [r, t] (Geng et al. 2025, arXiv 2505.13447); both ends are
    embedded and summed, and r is t by default. scale: of times in the sines; a mean flow, which is differentiated in
    time, learns badly at the usual 1000 (Lu and Song 2024, arXiv 2410.11081).
    """

    def __init__(self, sines: int, dim: int, *, interval: bool = False, scale: float = 1000.0) -> None:
        super().__init__()
        self.sines, self.interval, self.scale = sines, interval, scale
        self.t = nn.Sequential(Linear(sines, dim), nn.SiLU(), Linear(dim, dim))
        if interval:
            self.r = nn.Sequential(Linear(sines, dim), nn.SiLU(), Linear(dim, dim))

    def forward(self, t: Tensor, r: Tensor | None = None) -> Tensor:
        if r is not None and not self.interval:
            raise ValueError("expected one time, got an interval: this network has instantaneous velocities only")
        y = self.t(self._sines(t))
        return y + self.r(self._sines(t if r is None else r)) if self.interval else y

    def _sines(self, time: Tensor) -> Tensor:
        return sinusoid(time, self.sines, self.scale).to(next(self.parameters()).dtype)


def sinusoid(time: Tensor, dim: int, scale: float = 1000.0) -> Tensor:
    """Sines, then cosines, of scale * time at rates from 1 to 1e-4. time: [n] -> [n, dim] (Vaswani et al. 2017)."""
    half = dim // 2
    rate = torch.exp(torch.arange(half, device=time.device, dtype=torch.float32) * (-math.log(1e4) / (half - 1)))
    angle = scale * time[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], -1)
