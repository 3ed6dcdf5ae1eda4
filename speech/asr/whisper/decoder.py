"""Whisper's decoder: tokens to scores of the next token, over a memory of what was heard that only ever grows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from speech.asr.whisper.config import WhisperConfig
from speech.asr.whisper.encoder import FeedForward
from speech.errors import SpeechError
from speech.kernels.linear import Linear
from speech.streaming.attention import HIDDEN, Attention, chosen
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import Device, State


class CrossAttention(nn.Module):
    """Attention of hypotheses to keys and values of what their streams heard. [b, u, d] -> [b, u, d].

    The n = b / m hypotheses of each of m streams stand one after another, and read its one memory.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = Linear(dim, dim), Linear(dim, dim, bias=False), Linear(dim, dim)
        self.out = Linear(dim, dim)

    def projected(self, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of encoder frames: [m, t, d] -> two of [m, h, t, e]."""
        k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.key(heard), self.value(heard)))
        return k, v

    def forward(self, x: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        """k, v: [m, h, t, e]; seen: [b, t], which frames each hypothesis may attend to."""
        y = self.weights(x, k, seen) @ v
        y = y.unflatten(2, (-1, x.shape[1])).permute(0, 2, 3, 1, 4)  # [m, n, u, h, e]
        return self.out(y.reshape(*x.shape[:2], -1))

    def weights(self, x: Tensor, k: Tensor, seen: Tensor) -> Tensor:
        """How much each id of the hypotheses attends to each frame: [m, h, n * u, t]."""
        (b, u, _), m = x.shape, len(k)
        q = self.query(x).view(m, b // m, u, self.heads, -1).permute(0, 3, 1, 2, 4).flatten(2, 3)  # [m, h, n * u, e]
        score = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).unflatten(2, (-1, u))
        return score.masked_fill(~seen.view(m, 1, b // m, 1, -1), HIDDEN).flatten(2, 3).softmax(-1)


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention, feed-forward, each a residual behind a norm. [b, u, d] -> [b, u, d]."""

    def __init__(self, dim: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.attention_norm, self.cross_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, left=tokens, position="none")
        self.cross = CrossAttention(dim, heads)
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Frames, heard: Tensor, seen: Tensor) -> Frames:
        """Whole sequences. heard: encoder frames [m, t, d]; seen: [b, t]."""
        y = x.data + self.attention(x.like(self.attention_norm(x.data))).data
        return x.like(self._crossed(y, *self.cross.projected(heard), seen))

    def weights(self, x: Frames, heard: Tensor, seen: Tensor) -> Tensor:
        """Those of the cross attention of whole sequences, [m, h, n * u, t]."""
        y = x.data + self.attention(x.like(self.attention_norm(x.data))).data
        return self.cross.weights(self.cross_norm(y), self.cross.projected(heard)[0], seen)

    def step(self, x: Frames, state: State, slots: Tensor, memory: State, rows: Tensor, seen: Tensor) -> Frames:
        """The next tokens of the hypotheses in `slots` of `state`, over the streams in `rows` of `memory`."""
        y = x.data + self.attention.step(x.like(self.attention_norm(x.data)), state, slots).data
        return x.like(self._crossed(y, chosen(memory["k"], rows), chosen(memory["v"], rows), seen))

    def extend(self, heard: Tensor, memory: State, rows: Tensor, cell: Tensor, valid: Tensor) -> None:
        """Write keys and values of encoder frames [m, t, d] into the cells [m, t] of `rows`, where they are valid."""
        for name, new in zip("kv", self.cross.projected(heard), strict=True):
            old = memory[name][rows[:, None], :, cell]  # [m, t, h, e]
            memory[name][rows[:, None], :, cell] = torch.where(
                valid[..., None, None], new.transpose(1, 2).to(old.dtype), old
            )

    def _crossed(self, x: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        x = x + self.cross(self.cross_norm(x), k, v, seen)
        return x + self.feed_forward(x)


class Decoder(nn.Module):
    """Token ids to logits of the ids that follow: whole sequences by `forward`, the next tokens by `step`.

    Live, there are two kinds of state. The memory of a stream holds keys and values of its encoder frames: each chunk
    adds its own by `extend`, and the last `positions` frames are kept. The state of a hypothesis holds those of its
    tokens; several hypotheses, the beams of a search, share one memory. A hypothesis takes tokens back by stepping on
    from an earlier position.
    """

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = c = config
        self.embed = nn.Embedding(c.vocabulary, c.dim)
        self.positions = nn.Embedding(c.tokens, c.dim)
        self.layers = nn.ModuleList(DecoderLayer(c.dim, c.decoder_heads, c.tokens) for _ in range(c.decoder_layers))
        self.norm = nn.LayerNorm(c.dim)

    def forward(self, ids: Tensor, heard: Frames, reach: Tensor | None = None) -> Tensor:
        """Logits of whole sequences. ids: [b, u] int64; heard: encoder frames of m streams [m, t, d], b a multiple of m
        and the sequences of a stream adjacent; reach: [b], how many frames of its stream each may attend to (all) ->
        [b, u, vocabulary].

        So one encoder pass serves many prefixes of an utterance. Raises SpeechError for more than `tokens` ids.
        """
        if ids.shape[1] > self.config.tokens:
            raise SpeechError(
                f"expected at most {self.config.tokens} tokens in a sequence, got {ids.shape[1]}: cut it into pieces"
            )
        place = heard.place
        seen = place.valid.repeat_interleave(len(ids) // len(heard.data), 0)
        if reach is not None:
            seen = seen & (torch.arange(place.count, device=reach.device) < reach[:, None])
        x, memory = Frames.whole(self._embedded(ids, torch.arange(ids.shape[1], device=ids.device))), heard.zeroed()
        for layer in self._layers():
            x = layer(x, memory, seen)
        return self._logits(x.data)

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """State for `slots` hypotheses: zeros, slot axis first."""
        return {f"{i}": layer.attention.init_state(slots, device, dtype) for i, layer in enumerate(self._layers())}

    def init_memory(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """Memory for `slots` streams: zeros, slot axis first.

        "heard" counts the encoder frames that have come. "since" is the first of them that may be attended to: whoever
        writes it lets a new text begin there, while the stream goes on.
        """
        c = self.config
        shape = (slots, c.decoder_heads, c.positions, c.dim // c.decoder_heads)
        memory: State = {
            f"{i}": {name: torch.zeros(shape, device=device, dtype=dtype) for name in "kv"}
            for i in range(c.decoder_layers)
        }
        return memory | {name: torch.zeros(slots, dtype=torch.long, device=device) for name in ("heard", "since")}

    def extend(self, encoded: Frames, memory: State, slots: Tensor) -> None:
        """Add a chunk of encoder frames [m, t, d] to the memories in `slots`, in place.

        Frame p lies in cell p modulo `positions`; frames outside their stream are left out. A stream's chunks come in
        order. Raises SpeechError for chunks longer than the memory.
        """
        place = encoded.place
        if place.count > self.config.positions:
            raise SpeechError(
                f"expected chunks of at most {self.config.positions} encoder frames, got {place.count}: cut them"
            )
        heard, cell = encoded.zeroed(), place.index.remainder(self.config.positions)
        for i, layer in enumerate(self._layers()):
            layer.extend(heard, memory[f"{i}"], slots, cell, place.valid)
        memory["heard"][slots] = torch.minimum(place.start + place.count, place.stop).clamp(min=0)

    def step(
        self,
        ids: Tensor,
        start: Tensor,
        state: State,
        slots: Tensor,
        memory: State,
        rows: Tensor | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Logits behind each of the next ids of hypotheses. ids: [b, u]; start: [b], the position of the first of them,
        start + u <= `tokens`, below 0 where a row has fewer than u (what lies there does not count); slots: [b], of the
        hypotheses in `state`; rows: [m], of their streams in `memory`, b a multiple of m and the hypotheses of a stream
        adjacent (default: `slots`); last: behind so many last ids alone (all) -> [b, last, vocabulary].

        `state` is updated in place, `memory` only read.
        """
        rows = slots if rows is None else rows
        place = Place(start, torch.full_like(start, OPEN), ids.shape[1])
        x = Frames(self._embedded(ids, place.index.clamp(min=0)), place)
        newest = memory["heard"][rows][:, None] - 1
        cell = torch.arange(self.config.positions, device=ids.device)
        frame = newest - (newest - cell).remainder(self.config.positions)
        seen = (frame >= memory["since"][rows][:, None]).repeat_interleave(len(ids) // len(rows), 0)
        for i, layer in enumerate(self._layers()):
            x = layer.step(x, state[f"{i}"], slots, memory[f"{i}"], rows, seen)
        return self._logits(x.data if last is None else x.data[:, -last:])

    def attention(self, ids: Tensor, heard: Frames) -> Tensor:
        """How much each id of a sequence attends to each encoder frame, by layer and head. ids: [u]; heard: [1, t, d]
        -> [layers, h, u, t].
        """
        x = Frames.whole(self._embedded(ids[None], torch.arange(len(ids), device=ids.device)))
        memory, seen, weights = heard.zeroed(), heard.place.valid, []
        for layer in self._layers():
            weights.append(layer.weights(x, memory, seen)[0])
            x = layer(x, memory, seen)
        return torch.stack(weights)

    def _layers(self) -> list[DecoderLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def _embedded(self, ids: Tensor, at: Tensor) -> Tensor:
        return self.embed(ids) + self.positions(at)

    def _logits(self, x: Tensor) -> Tensor:
        return linear(self.norm(x), self.embed.weight).float()
