"""The up-sampling Conformer encoder of CosyVoice 2 (Du et al. 2024, arXiv 2412.10117): tokens to mel-rate frames.

`Front` works frame by frame but for a look-ahead of a few tokens, and runs in any chunks; `Upsampler` wants whole
chunks. Together, `Sequential(front=..., upsampler=...)`, they are the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from speech.flow.layers import Context, TransformerLayer, sharing
from speech.kernels.linear import Linear
from speech.streaming.attention import Attention
from speech.streaming.conv import Conv1d
from speech.streaming.module import Residual, Sequential
from speech.streaming.resample import Repeat


@dataclass(frozen=True)
class EncoderConfig:
    """Defaults: CosyVoice 2. look_ahead: future tokens that a token sees; ahead_hidden: channels between the two
    convolutions that look ahead; layers, up_layers: transformer layers before and after the up-sampling.

    With `layers` and `up_layers` 0 there is no transformer and no projection: tokens are embedded, see their look-ahead
    and are repeated, as CosyVoice 3 does.

    rate: mel frames a token.
    """

    dim: int = 512
    look_ahead: int = 3
    ahead_hidden: int = 512
    layers: int = 6
    up_layers: int = 4
    heads: int = 8
    ff_hidden: int = 2048
    dropout: float = 0.1
    rate: int = 2

    @property
    def plain(self) -> bool:
        """Whether frames are only repeated."""
        return not (self.layers or self.up_layers)


class Projection(nn.Module):
    """Linear, layer norm and the scale sqrt(d) at which Transformer-XL's positions are used. [b, t, d] -> [b, t, d]."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.linear, self.norm = Linear(dim, dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(self.linear(x)) * x.shape[-1] ** 0.5)


class Front(Sequential):
    """Token embeddings, projected, with the look-ahead that gives them their future context. [b, t, d] -> [b, t, d]."""

    def __init__(self, config: EncoderConfig) -> None:
        ahead = Sequential(
            conv1=Conv1d(config.dim, config.ahead_hidden, 0, config.look_ahead),
            act=nn.LeakyReLU(0.01),
            conv2=Conv1d(config.ahead_hidden, config.dim, 2),
        )
        projection = {} if config.plain else {"projection": Projection(config.dim, config.dropout)}
        super().__init__(**projection, ahead=Residual(config.dim, ahead))


class Upsampler(Sequential):
    """Transformer layers at the tokens' rate, repetition, convolution, and layers at the mel's rate.

    [b, t, d] -> [b, rate * t, d]. `at` gives the same weights in another context.
    """

    def __init__(self, config: EncoderConfig, context: Context) -> None:
        def layers(count: int, rate: int) -> Sequential:
            return Sequential(**{f"{i}": layer(rate) for i in range(count)})

        def layer(rate: int) -> TransformerLayer:
            attention = Attention(config.dim, config.heads, **context.attention(rate), dropout=config.dropout)
            return TransformerLayer(attention, config.ff_hidden, nn.SiLU(), eps=1e-12, dropout=config.dropout)

        if config.plain:
            super().__init__(repeat=Repeat(config.rate))
        else:
            super().__init__(
                layers=layers(config.layers, 1),
                repeat=Repeat(config.rate),
                conv=Conv1d(config.dim, config.dim, 4),
                projection=Projection(config.dim, config.dropout),
                up_layers=layers(config.up_layers, config.rate),
                norm=nn.LayerNorm(config.dim),
            )
        self.config, self.context = config, context

    def at(self, context: Context) -> Upsampler:
        """This module, its very parameters, in another context."""
        return self if context == self.context else sharing(self, lambda: Upsampler(self.config, context))
