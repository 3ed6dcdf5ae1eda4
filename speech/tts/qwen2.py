"""A causal Transformer decoder of the Qwen2 type (arXiv 2407.10671) under the streaming contract."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import silu

from speech.errors import SpeechError
from speech.kernels.linear import Linear
from speech.streaming.attention import Attention, Rotary
from speech.streaming.module import Pointwise, Residual, Sequential


@dataclass(frozen=True)
class Qwen2Config:
    """A decoder. Defaults: the 0.5 B model (its vocabulary is not part of it).

    left: past positions that a position sees, besides itself; keys and values of so many are kept for each stream.
    sinks: first positions of a stream that stay visible for ever. base: of the rotary positions. Raises SpeechError for
    sizes that do not fit one another.
    """

    dim: int = 896
    layers: int = 24
    heads: int = 14
    kv_heads: int = 2
    head_dim: int = 64
    hidden: int = 4864
    left: int = 2048
    sinks: int = 0
    base: float = 1e6
    eps: float = 1e-6
    bias: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.dim, self.layers, self.heads, self.kv_heads, self.head_dim, self.hidden, self.left)
        if min(sizes) < 1 or self.sinks < 0 or self.heads % self.kv_heads or self.head_dim % 2:
            raise SpeechError(
                "expected a decoder with sizes of at least 1, heads that are a multiple of kv_heads and an even "
                f"head_dim, got {self}: correct them"
            )


class SwiGLU(nn.Module):
    """Norm, two linear maps of which one is the other's gate, and one back (Shazeer 2020). [b, t, d] -> [b, t, d]."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.dim, config.eps)
        self.up = Linear(config.dim, 2 * config.hidden, bias=False)  # the gate first
        self.down = Linear(config.hidden, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(self.norm(x)).chunk(2, -1)
        return self.dropout(self.down(silu(gate) * value))


class Qwen2Layer(Sequential):
    """Causal attention with rotary positions and grouped heads, SwiGLU; each a residual. [b, t, d] -> [b, t, d]."""

    def __init__(self, config: Qwen2Config, spare: int = 0) -> None:
        attention = Attention(
            config.dim,
            config.heads,
            left=config.left,
            sinks=config.sinks,
            position=Rotary(config.base),
            head_dim=config.head_dim,
            kv_heads=config.kv_heads,
            bias=config.bias,
            out_bias=False,
            dropout=config.dropout,
        )
        attention.ring += spare  # beyond what is seen: a row that is taken back has overwritten no cell that counts
        attend = Sequential(
            norm=nn.RMSNorm(config.dim, config.eps), attention=attention, dropout=nn.Dropout(config.dropout)
        )
        super().__init__(
            attention=Residual(config.dim, attend),
            feed_forward=Residual(config.dim, Pointwise(SwiGLU(config))),
        )


class Qwen2(Sequential):
    """Embedded inputs to states after the final norm. [b, t, d] -> [b, t, d].

    spare: how many rows at the end of a step may be taken back: the next step begins at the first of them, as if they
    had never been.
    """

    def __init__(self, config: Qwen2Config, spare: int = 0) -> None:
        super().__init__(
            layers=Sequential(**{f"{i}": Qwen2Layer(config, spare) for i in range(config.layers)}),
            norm=nn.RMSNorm(config.dim, config.eps),
        )
        self.config = config
