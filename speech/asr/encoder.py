"""The cache-aware FastConformer encoder (Rekesh et al. 2023; Noroozi et al. 2023, arXiv 2312.17279)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from speech.asr.conformer import ConformerLayer, Norm
from speech.asr.subsampling import Subsampling
from speech.errors import SpeechError
from speech.kernels.quantised_linear import QuantisedLinear
from speech.streaming.attention import Attention
from speech.streaming.module import Pointwise, Sequential


@dataclass(frozen=True)
class EncoderConfig:
    """A FastConformer. Defaults: the 114 M public model `stt_en_fastconformer_hybrid_large_streaming_multi`.

    contexts: the (left, look-ahead) pairs in encoder frames of 80 ms that the model was trained for; the first is the
    default. conv_context: past and future frames of the depthwise convolution. Raises SpeechError for contexts that
    cannot be run.
    """

    features: int = 80
    dim: int = 512
    layers: int = 17
    heads: int = 8
    ff_expansion: int = 4
    subsampling_channels: int = 256
    causal_subsampling: bool = True
    conv_context: tuple[int, int] = (8, 0)
    conv_norm: Norm = "layer_norm"
    bias: bool = True
    scale_input: bool = True
    contexts: tuple[tuple[int, int], ...] = ((70, 13), (70, 6), (70, 1), (70, 0))
    chunked: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.1

    def __post_init__(self) -> None:
        fits = [min(pair) >= 0 and not (self.chunked and pair[0] % (pair[1] + 1)) for pair in self.contexts]
        if not fits or not all(fits):
            raise SpeechError(
                "expected (left, look-ahead) contexts of 0 frames or more, in chunked attention with a left that is a "
                f"multiple of look-ahead + 1, got {[list(pair) for pair in self.contexts]}: correct them"
            )

    def look_aheads(self, frame: float) -> dict[int, tuple[int, int]]:
        """The contexts by their look-ahead in milliseconds; frame: seconds of an encoder frame."""
        depth = 1 if self.chunked else self.layers  # a sliding window looks ahead in every layer
        return {round(1e3 * frame * depth * context[1]): context for context in self.contexts}


class Scale(nn.Module):
    """x * factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


class Encoder(Sequential):
    """Log-mel frames to acoustic frames of 80 ms. [b, t, features] -> [b, t', dim].

    One set of weights serves several look-aheads; an `Encoder` is fixed at one of them, and `at` gives the same weights
    at another. cells: of `Attention`.
    """

    def __init__(
        self, config: EncoderConfig, context: tuple[int, int] | None = None, cells: torch.dtype | None = None
    ) -> None:
        left, ahead = context or config.contexts[0]

        def layer() -> ConformerLayer:
            attention = Attention(
                config.dim,
                config.heads,
                left=left,
                chunk=ahead + 1 if config.chunked else None,
                right=0 if config.chunked else ahead,
                bias=config.bias,
                dropout=config.attention_dropout,
                cells=cells,
            )
            return ConformerLayer(
                attention,
                ff_hidden=config.dim * config.ff_expansion,
                conv_context=config.conv_context,
                conv_norm=config.conv_norm,
                bias=config.bias,
                dropout=config.dropout,
            )

        super().__init__(
            subsampling=Subsampling(
                config.features, config.subsampling_channels, config.dim, causal=config.causal_subsampling
            ),
            scale=Pointwise(Scale(config.dim**0.5 if config.scale_input else 1.0)),
            dropout=nn.Dropout(config.dropout),
            layers=Sequential(**{f"{i}": layer() for i in range(config.layers)}),
        )
        self.config, self.context, self.cells = config, (left, ahead), cells
        self.chunk = ahead + 1 if config.chunked else 1

    def at(self, context: tuple[int, int], cells: torch.dtype | None = None) -> Encoder:
        """This encoder, its very parameters, at another (left, look-ahead) context in encoder frames, or with cells."""
        if (context, cells) == (self.context, self.cells):
            return self
        with torch.device("meta"):
            other = Encoder(self.config, context, cells)
        for name, layer in self.named_modules():
            if isinstance(layer, QuantisedLinear):
                other.set_submodule(name, layer)
        other.load_state_dict(self.state_dict(keep_vars=True), assign=True)
        return other.train(self.training)
