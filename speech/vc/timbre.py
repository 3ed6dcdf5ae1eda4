"""What a target voice does to content features: cross attention over its mel frames or over its timbre tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from speech.errors import SpeechError
from speech.flow.layers import FeedForward
from speech.kernels.linear import Linear
from speech.streaming.module import State


class Match(NamedTuple):
    """Of a target. tune: [], the mean f0 while there is a voice, in the scale of content that is "said". gain, offset:
    [mel], which make of a band of what the network made what the target's has."""

    tune: Tensor
    gain: Tensor
    offset: Tensor

    def write(self, state: State, slots: int | Tensor) -> None:
        """Put it where the streams in `slots` keep theirs. state: of `ConverterModel.pipeline`."""
        state["tune"]["target"][slots] = self.tune
        state["colour"]["contrast"][slots] = self.gain - 1
        state["colour"]["offset"][slots] = self.offset


@dataclass(frozen=True)
class Target:
    """A voice as the network needs it, computed once: one of many rows, or one row for all.

    speaker: [b, s], the speaker vector. keys, values: of all l cross attentions, [b, l, h, p, e]. padding: [b, p] bool,
    which of them do not count, where rows have prompts of unequal length. The state of a stream has the same fields,
    all but match, which is what is matched of it besides, of one row.
    """

    speaker: Tensor
    keys: Tensor
    values: Tensor
    padding: Tensor | None = None
    match: Match | None = None

    @property
    def room(self) -> int:
        """Cells of keys and values that it takes."""
        return self.keys.shape[3]

    def write(self, state: State, slots: int | Tensor) -> None:
        """Put this target, one row without padding, where the streams in `slots` keep theirs: from now on it is heard.

        state: of `Conditions`, with at least `room` cells; those behind are padding.
        """
        state["speaker"][slots] = self.speaker[0]
        for name, kept in (("keys", self.keys), ("values", self.values)):
            state[name][slots, :, :, : self.room] = kept[0]
            state[name][slots, :, :, self.room :] = 0.0  # 0 times NaN is not 0: padding must be finite, too
        if "padding" in state:
            state["padding"][slots, : self.room] = False
            state["padding"][slots, self.room :] = True


@dataclass(frozen=True)
class PromptConfig:
    """Of a `PromptTimbre`. hidden: width of its feed-forward layers. Defaults: MeanVC."""

    layers: int = 2
    heads: int = 4
    hidden: int = 256


@dataclass(frozen=True)
class TokenConfig:
    """Of a `TokenTimbre`. tokens: how many; heads, inner: of its attention. Defaults: MeanVC 2."""

    tokens: int = 32
    heads: int = 4
    inner: int = 128


class Timbre(nn.Module):
    """Content features in the light of a target. [b, t, content] -> [b, t, content].

    prompted: the targets are as long as their references.
    """

    prompted = False

    def target(self, speaker: Tensor, mel: Tensor | None = None, lengths: Tensor | None = None) -> Target:
        """The target of a speaker vector [b, s] and of reference mel frames [b, p, mel], of which `lengths` [b] count.

        Raises SpeechError where the network needs frames of a reference and there are none.
        """
        raise NotImplementedError

    def cells(self, room: int) -> tuple[int, int, int, int]:
        """Shape [l, h, p, e] of a target's keys and values; room: frames of the longest reference."""
        raise NotImplementedError

    def forward(self, content: Tensor, target: Target) -> Tensor:
        """content: [b, t, content]; the target has b rows or one."""
        raise NotImplementedError

    def conditions(self, content: Tensor, target: Target) -> Tensor:
        """What the solver is given, the speaker vector beside every frame: [b, t, content] -> [b, t, content + s]."""
        speaker = target.speaker[:, None].expand(*content.shape[:2], -1)
        return torch.cat([self(content, target), speaker], -1)


class CrossAttention(nn.Module):
    """Frames attend to what is kept of a target. x: [b, t, dim] -> [b, t, dim]."""

    def __init__(self, dim: int, heads: int, inner: int, key_dim: int, value_dim: int) -> None:
        super().__init__()
        if inner % heads:
            raise ValueError(f"expected an inner width of a multiple of {heads} heads, got {inner}")
        self.heads, self.head_dim = heads, inner // heads
        self.q, self.k, self.v = Linear(dim, inner), Linear(key_dim, inner), Linear(value_dim, inner)
        self.out = Linear(inner, dim)

    def kept(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys from [b, p, key_dim] and values from [b, p, value_dim], each [b, h, p, e]."""
        return self._split(self.k(keys)), self._split(self.v(values))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, valid: Tensor | None) -> Tensor:
        """keys, values: [b or 1, h, p, e]; valid: [b or 1, p] bool."""
        q = self._split(self.q(x))
        keys, values = (y.expand(len(x), -1, -1, -1) for y in (keys, values))
        y = scaled_dot_product_attention(q, keys, values, None if valid is None else valid[:, None, None])
        return self.out(y.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class PromptLayer(nn.Module):
    """Cross attention and feed-forward, each with a residual and a norm behind it. [b, t, d] -> [b, t, d]."""

    def __init__(self, config: PromptConfig, content: int, speaker: int, mel: int) -> None:
        super().__init__()
        self.attention = CrossAttention(content, config.heads, content, mel + speaker, mel)
        self.norm1, self.norm2 = nn.LayerNorm(content), nn.LayerNorm(content)
        self.ff = FeedForward(content, config.hidden, nn.ReLU())

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, valid: Tensor | None) -> Tensor:
        x = self.norm1(x + self.attention(x, keys, values, valid))
        return self.norm2(x + self.ff(x))


class PromptTimbre(Timbre):
    """Cross attention over mel frames of the target (the timbre encoder of MeanVC, arXiv 2510.08392).

    Keys are made of frames and speaker vector, values of frames alone; frames have no positions, so a reference may be
    several recordings one behind the other, in any order.
    """

    prompted = True

    def __init__(self, config: PromptConfig, content: int, speaker: int, mel: int) -> None:
        super().__init__()
        self.voice = Linear(speaker, speaker, bias=False)
        self.layers = nn.ModuleList(PromptLayer(config, content, speaker, mel) for _ in range(config.layers))

    def target(self, speaker: Tensor, mel: Tensor | None = None, lengths: Tensor | None = None) -> Target:
        if mel is None or not mel.shape[1]:
            raise SpeechError("expected mel frames of a reference for this network, got none: give a recording")
        padding = None
        if lengths is not None:
            padding = torch.arange(mel.shape[1], device=mel.device) >= lengths[:, None].clamp(min=1)
        keys = torch.cat([mel, self.voice(speaker)[:, None].expand(-1, mel.shape[1], -1)], -1)
        kept = [layer.attention.kept(keys, mel) for layer in self._each()]
        return Target(speaker, torch.stack([k for k, _ in kept], 1), torch.stack([v for _, v in kept], 1), padding)

    def cells(self, room: int) -> tuple[int, int, int, int]:
        attention = self._each()[0].attention
        return len(self.layers), attention.heads, room, attention.head_dim

    def forward(self, content: Tensor, target: Target) -> Tensor:
        valid = None if target.padding is None else ~target.padding
        for layer, keys, values in zip(self._each(), target.keys.unbind(1), target.values.unbind(1), strict=True):
            content = layer(content, keys, values, valid)
        return content

    def _each(self) -> list[PromptLayer]:
        return list(self.layers)  # type: ignore[arg-type]


class Tokens(nn.Module):
    """Tokens that all voices share, moved by a speaker vector. speaker: [b, s] -> [b, n, dim]."""

    def __init__(self, count: int, dim: int, speaker: int) -> None:
        super().__init__()
        self.prior = nn.Parameter(torch.randn(count, dim))
        self.move = nn.Sequential(Linear(speaker, dim), nn.SiLU(), Linear(dim, count * dim))
        self.norm = nn.LayerNorm(dim)

    def forward(self, speaker: Tensor) -> Tensor:
        return self.norm(self.move(speaker).unflatten(-1, self.prior.shape) + self.prior.tanh())


class TokenTimbre(Timbre):
    """Cross attention over universal timbre tokens, for which a speaker vector is enough (MeanVC 2, arXiv 2606.09050).

    Content passes through the attention alone, without a residual.
    """

    def __init__(self, config: TokenConfig, content: int, speaker: int) -> None:
        super().__init__()
        self.count = config.tokens
        self.keys, self.values = (Tokens(config.tokens, content, speaker) for _ in range(2))
        self.attention = CrossAttention(content, config.heads, config.inner, content, content)
        self.norm = nn.LayerNorm(content)

    def target(self, speaker: Tensor, mel: Tensor | None = None, lengths: Tensor | None = None) -> Target:
        keys, values = self.attention.kept(self.keys(speaker), self.values(speaker))
        return Target(speaker, keys[:, None], values[:, None])

    def cells(self, room: int) -> tuple[int, int, int, int]:
        return 1, self.attention.heads, self.count, self.attention.head_dim

    def forward(self, content: Tensor, target: Target) -> Tensor:
        return self.norm(self.attention(content, target.keys[:, 0], target.values[:, 0], None))
