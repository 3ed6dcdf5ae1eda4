"""Multi-head self-attention over a ring of cached keys and values."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from speech.kernels.linear import Linear
from speech.streaming.frames import Frames, Place
from speech.streaming.module import Device, State, Streaming, shift

HIDDEN = -1e4
"""A masked score: its softmax weight is exactly zero beside any visible key, and a row without one stays finite."""

Position = Literal["relative", "rotary", "none"]


class Attention(Streaming):
    """Self-attention with a bounded past. x: [b, t, d] -> [b, t, d].

    Two ways to look ahead:

    * `chunk=c` (chunked-limited, Noroozi et al. 2023, arXiv 2312.17279): frame i sees its own chunk of c frames and the
      `left // c` chunks before it. The look-ahead, up to c - 1 frames, does not grow with depth; a step brings whole
      chunks, so nothing is delayed.
    * `chunk=None`: frame i sees i - left .. i + right; queries wait `right` frames in every layer.

    `sinks` first frames of a stream stay visible for ever (Xiao et al. 2023, arXiv 2309.17453).
    Positions: "relative" as in Transformer-XL (Dai et al. 2019) with learned biases u and v, "rotary" (Su et al. 2021)
    or "none".

    The ring holds the `left` (+ `right`) keys and values before the chunk. A chunk attends to the ring and to itself,
    and is written afterwards: so the ring needs no room for the chunk, whatever its size. Frame p lies in cell p modulo
    the capacity, so the cells' positions follow from the chunk's start and are not stored.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        left: int,
        chunk: int | None = None,
        right: int = 0,
        sinks: int = 0,
        position: Position = "relative",
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"expected dim to be a multiple of heads, got {dim} and {heads}")
        if chunk is not None and (right or left % chunk):
            raise ValueError(
                f"expected right 0 and left a multiple of chunk {chunk}, got right {right} and left {left}"
            )
        self.dim, self.heads, self.left, self.chunk = dim, heads, left, chunk
        self.look_ahead, self.sinks, self.position = right, sinks, position
        self.ring = left + right
        self.past = left + (chunk - 1 if chunk else 0)  # the farthest distance that is seen, sinks aside
        self.future = chunk - 1 if chunk else right
        self.qkv = Linear(dim, 3 * dim, bias=bias)
        self.out = Linear(dim, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)
        if position == "relative":
            self.pos = nn.Linear(dim, dim, bias=False)
            self.u = nn.Parameter(torch.zeros(heads, dim // heads))
            self.v = nn.Parameter(torch.zeros(heads, dim // heads))
        self._table: tuple[tuple, Tensor] | None = None  # folded positions: a constant of the weights, not of a stream

    @property
    def grain(self) -> int:
        return self.chunk or 1

    def first(self, start: int) -> int:
        """With `chunk`: where the chunk that holds `start` begins, since its frames see one another."""
        return start // self.chunk * self.chunk if self.chunk else start - self.look_ahead

    # whole signal

    def forward(self, frames: Frames) -> Frames:
        place = frames.place
        q, k, v = (self._split(x) for x in self.qkv(frames.zeroed()).chunk(3, -1))
        seen = place.memo(("seen", self.left, self.chunk, self.look_ahead, self.sinks), lambda: self._whole_mask(place))
        if self.position == "rotary":
            q, k = rotate(q, place.index), rotate(k, place.index)
        if self.position == "relative":
            table = place.memo(("table", self.dim, self.past, self.future), lambda: self._whole_table(q))
            bias = skew(self._distance_scores(q, self._split(self.pos(table)[None])))
            score = (q + self.u[:, None].to(q.dtype)) @ k.transpose(2, 3) + bias
        else:
            score = q @ k.transpose(2, 3)
        score = (score * q.shape[-1] ** -0.5).masked_fill(~seen[:, None], HIDDEN)
        weight = self.dropout(score.softmax(-1).to(v.dtype))
        return frames.like(self.out(self._merge(weight @ v)))

    def _whole_table(self, q: Tensor) -> Tensor:
        """The sinusoids of distances t - 1 .. -t, [2 * t, d]."""
        t = q.shape[2]
        distance = torch.arange(t - 1, -t - 1, -1, device=q.device)
        return sinusoid(self.past, -self.future, self.dim, q.device).to(q.dtype)[self._column(distance)]

    def _whole_mask(self, place: Place) -> Tensor:
        i, j = place.index[:, :, None], place.index[:, None, :]
        return self._visible(i, j) & place.valid[:, None, :]

    # one chunk

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        def cells(n: int) -> Tensor:
            return torch.zeros(slots, self.heads, n, self.dim // self.heads, device=device, dtype=dtype)

        state = {"k": cells(self.ring), "v": cells(self.ring)}
        if self.sinks:
            state |= {"sink_k": cells(self.sinks), "sink_v": cells(self.sinks)}
        if self.look_ahead:
            state["q"] = torch.zeros(slots, self.look_ahead, self.dim, device=device, dtype=dtype)
        return state

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        place, count = frames.place, frames.data.shape[1]
        if self.chunk and (place.phase % self.chunk or count % self.chunk):
            raise ValueError(
                f"expected whole chunks of {self.chunk} frames, got {count} frames from phase {place.phase}"
            )
        q, k, v = self.qkv(frames.zeroed()).chunk(3, -1)  # outside the stream may be anything: 0 * NaN is not 0
        out = self.moved(place, count)
        if self.look_ahead:
            q = shift(state["q"], slots, q)[:, :count]
        q, k, v = self._split(q), self._split(k), self._split(v)
        if self.position == "rotary":
            q, k = rotate(q, out.index), rotate(k, place.index)
        key = (self.left, self.chunk, self.look_ahead, self.sinks)
        at, seen = place.memo(("keys", *key), lambda: self._chunk_mask(place, out))
        kept = [(state["k"].index_select(0, slots), state["v"].index_select(0, slots))]
        if self.sinks:
            kept.insert(0, (state["sink_k"][slots], state["sink_v"][slots]))
        keys = torch.cat([*(x[0] for x in kept), k], 2)
        values = torch.cat([*(x[1] for x in kept), v], 2)
        if self.position == "relative":
            index = place.memo(("distance", *key), lambda: self._column(out.index[:, :, None] - at[:, None, :]))
            bias = self._distance_scores(q, self._folded(q))
            bias = bias.gather(3, index[:, None].expand(-1, self.heads, -1, -1))
            score = (q + self.u[:, None]) @ keys.transpose(2, 3) + bias
        else:
            score = q @ keys.transpose(2, 3)
        score = (score * q.shape[-1] ** -0.5).masked_fill(~seen[:, None], HIDDEN)
        y = self.out(self._merge(score.softmax(-1) @ values))
        self._write(place, state, slots, k, v)
        return Frames(y, out)

    def _chunk_mask(self, place: Place, out: Place) -> tuple[Tensor, Tensor]:
        """Positions of all keys a step sees, [b, n] (sinks, ring, chunk), and which query sees which, [b, t, n]."""
        last = place.start[:, None] - 1
        cell = torch.arange(self.ring, device=last.device)
        ring = last - (last - cell).remainder(max(self.ring, 1))
        sink = torch.arange(self.sinks, device=last.device).expand(len(last), -1)
        at = torch.cat([sink, ring, place.index], 1)
        fresh = torch.cat([sink <= last, ring >= self.sinks, place.valid], 1)
        inside = (at >= 0) & (at < place.stop[:, None])
        return at, self._visible(out.index[:, :, None], at[:, None, :]) & (fresh & inside)[:, None, :]

    def _write(self, place: Place, state: State, slots: Tensor, k: Tensor, v: Tensor) -> None:
        n = min(self.ring, place.count)
        if n:
            cell = place.memo(("cell", self.ring), lambda: place.index[:, place.count - n :].remainder(self.ring))
            state["k"][slots[:, None], :, cell] = k[:, :, place.count - n :].transpose(1, 2)
            state["v"][slots[:, None], :, cell] = v[:, :, place.count - n :].transpose(1, 2)
        if self.sinks:
            cell = torch.arange(self.sinks, device=slots.device)
            source = cell - place.start[:, None]  # [b, sinks]: the chunk's frame that belongs in each sink
            here = ((source >= 0) & (source < place.count))[:, None, :, None]
            source = source.clamp(0, place.count - 1)[:, None, :, None].expand(-1, self.heads, -1, k.shape[-1])
            for name, new in (("sink_k", k), ("sink_v", v)):
                state[name][slots] = torch.where(here, new.gather(2, source), state[name][slots])

    # shared

    def _visible(self, i: Tensor, j: Tensor) -> Tensor:
        """Whether a query at i may see a key at j, by position alone."""
        if self.chunk is not None:
            ago = i.div(self.chunk, rounding_mode="floor") - j.div(self.chunk, rounding_mode="floor")
            near = (ago >= 0) & (ago <= self.left // self.chunk)
            return near | ((j < self.sinks) & (ago >= 0)) if self.sinks else near
        near = (j >= i - self.left) & (j <= i + self.look_ahead)
        return near | ((j < self.sinks) & (j <= i + self.look_ahead)) if self.sinks else near

    def _distance_scores(self, q: Tensor, table: Tensor) -> Tensor:
        """(q + v) . r for every tabled distance. q: [b, h, t, e]; table: [1, h, n, e] -> [b, h, t, n]."""
        return torch.einsum("bhte,hne->bhtn", q + self.v[:, None].to(q.dtype), table[0])

    def _column(self, distance: Tensor) -> Tensor:
        """The table's column of a distance. A sink that is farther away than the past counts as its far edge."""
        return (self.past - distance).clamp(0, self.past + self.future)

    def _folded(self, q: Tensor) -> Tensor:
        """The projected table of distances, [1, h, n, e]; computed again only when the weights change."""
        weight = self.pos.weight
        version = (weight.data_ptr(), -1 if weight.is_inference() else weight._version, q.dtype)
        if self._table is None or self._table[0] != version:
            with torch.inference_mode(False), torch.no_grad():
                table = self.pos(sinusoid(self.past, -self.future, self.dim, q.device).to(weight.dtype))
                self._table = (version, self._split(table[None]).to(q.dtype).contiguous())
        return self._table[1]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [b, t, d] -> [b, h, t, e]

    def _merge(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


def sinusoid(high: int, low: int, dim: int, device: Device = None) -> Tensor:
    """Sines and cosines, interleaved, of the distances high, high - 1, .. low: [high - low + 1, dim].

    Vaswani et al. 2017, section 3.5.
    """
    distance = torch.arange(high, low - 1, -1, device=device, dtype=torch.float32)
    rate = torch.exp(torch.arange(0, dim, 2, device=device, dtype=torch.float32) * (-math.log(1e4) / dim))
    angle = distance[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :dim]


def skew(score: Tensor) -> Tensor:
    """From columns that count distances t-1 .. -t to columns that count keys. [b, h, t, 2t] -> [b, h, t, t].

    Row i wants distance i - j at key j, which is column t - 1 - i + j: a view with one column less a row does it.
    """
    t = score.shape[2]
    flat = score.flatten(2)[..., t - 1 : t - 1 + t * (2 * t - 1)]
    return flat.unflatten(2, (t, 2 * t - 1))[..., :t]


def rotate(x: Tensor, index: Tensor, base: float = 1e4) -> Tensor:
    """Rotary positions on half-split pairs (Su et al. 2021, arXiv 2104.09864). x: [b, h, t, e]; index: [b, t]."""
    half = x.shape[-1] // 2
    rate = base ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = index[:, None, :, None].float() * rate
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
