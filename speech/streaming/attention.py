"""Multi-head self-attention over a ring of cached keys and values."""

from __future__ import annotations

from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from speech.kernels.eight_bits import rounded
from speech.kernels.linear import Linear
from speech.kernels.ring_attention import Absolute, Cells, Table, Window, fused, key_positions, ring_attention
from speech.streaming.frames import Frames, Place
from speech.streaming.module import Device, State, Streaming, shift
from speech.streaming.positions import Rotary, sinusoid, skew

HIDDEN = -1e4
"""A masked score: its softmax weight is exactly zero beside any visible key, and a row without one stays finite."""


Position = Literal["relative", "rotary", "none"] | Rotary | Absolute


class Attention(Streaming):
    """Self-attention with a bounded past. x: [b, t, d] -> [b, t, d].

    Two ways to look ahead:

    * `chunk=c` (chunked-limited, Noroozi et al. 2023, arXiv 2312.17279): frame i sees its own chunk of c frames and the
      `left // c` chunks before it. The look-ahead, up to c - 1 frames, does not grow with depth; a step brings whole
      chunks, so nothing is delayed. With `ahead=a` it sees the first a frames of the next chunk, too: a step then
      brings these besides, not to be kept, and they come again in the next (MeanVC 2, arXiv 2606.09050).
    * `chunk=None`: frame i sees i - left .. i + right; queries wait `right` frames in every layer.

    `sinks` first frames of a stream stay visible for ever (Xiao et al. 2023, arXiv 2309.17453).
    Positions: "relative" as in Transformer-XL (Dai et al. 2019) with learned biases u and v, `Absolute` with the same,
    "rotary" (or a `Rotary`) or "none". `head_dim` defaults to dim / heads. With `kv_heads` groups of heads share keys
    and values (Ainslie et al. 2023, arXiv 2305.13245). `qk_norm`: queries and keys pass an RMS norm of their own (Henry
    et al. 2020).

    With `cells`, int8 or float8_e4m3fn, the ring keeps keys and values in 8 bits, a scale each, and whatever is
    attended to is rounded so, lest results depend on what came in one chunk. For inference only. Off a card it saves
    memory and takes time.

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
        ahead: int = 0,
        initial: int = 0,
        sinks: int = 0,
        position: Position = "relative",
        head_dim: int | None = None,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        bias: bool = True,
        out_bias: bool | None = None,
        dropout: float = 0.0,
        cells: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if head_dim is None and dim % heads:
            raise ValueError(f"expected dim to be a multiple of heads, got {dim} and {heads}")
        self.dim, self.heads, self.left, self.chunk, self.ahead = dim, heads, left, chunk, ahead
        self.initial, self.cells = initial, cells
        self.look_ahead, self.sinks, self.position = right, sinks, position
        self.rotary = Rotary() if position == "rotary" else position if isinstance(position, Rotary) else None
        self.head_dim, self.kv_heads = head_dim or dim // heads, kv_heads or heads
        self._check()
        inner, shared = heads * self.head_dim, self.kv_heads * self.head_dim
        self.widths = (inner, shared, shared)
        self.ring = left + right
        self.window = Window(left, chunk or 1, right + ahead, sinks, initial)
        within = chunk - 1 if chunk else 0
        self.high, self.low = left + within, -(right + ahead + within)  # the distances that are seen, sinks aside
        if isinstance(position, Absolute):
            self.high, self.low = position.restart + position.period - 1, 0
        self.qkv = Linear(dim, inner + 2 * shared, bias=bias)
        self.out = Linear(inner, dim, bias=bias if out_bias is None else out_bias)
        self.dropout = nn.Dropout(dropout)
        if qk_norm:
            self.norm_q, self.norm_k = (nn.RMSNorm(self.head_dim, eps=1e-6) for _ in range(2))
        self.qk_norm = qk_norm
        self.tabled = position == "relative" or isinstance(position, Absolute)
        if self.tabled:
            self.pos = nn.Linear(dim, inner, bias=False)
            self.u = nn.Parameter(torch.zeros(heads, self.head_dim))
            self.v = nn.Parameter(torch.zeros(heads, self.head_dim))
        self._table: tuple[tuple, Tensor] | None = None  # folded positions: a constant of the weights, not of a stream

    def _check(self) -> None:
        """Raise ValueError for sizes that do not fit one another."""
        left, chunk, right, ahead = self.left, self.chunk, self.look_ahead, self.ahead
        initial, position, absolute = self.initial, self.position, isinstance(self.position, Absolute)
        if self.heads % self.kv_heads:
            raise ValueError(f"expected heads to be a multiple of kv_heads, got {self.heads} and {self.kv_heads}")
        if chunk is not None and (right or left % chunk):
            raise ValueError(
                f"expected right 0 and left a multiple of chunk {chunk}, got right {right} and left {left}"
            )
        if isinstance(position, Absolute) and (not chunk or position.period % chunk or position.restart < left):
            raise ValueError(
                f"expected chunks, laps of whole ones and a restart of at least left, got chunk {chunk}, left {left} "
                f"and {position}"
            )
        if ahead and (chunk is None or not 0 < ahead <= chunk):
            raise ValueError(f"expected to see at most the next chunk ahead, got {ahead} frames of chunk {chunk}")
        if initial and (chunk is None or initial % chunk or position == "relative" or absolute):
            raise ValueError(
                f"expected an initial block of whole chunks and positions without a table, got initial {initial}, "
                f"chunk {chunk} and {position}"
            )

    @property
    def grain(self) -> int:
        return self.chunk or 1

    def first(self, start: int) -> int:
        """With `chunk`: where the chunk that holds `start` begins, since its frames see one another."""
        return start // self.chunk * self.chunk if self.chunk else start - self.look_ahead

    # whole signal

    def forward(self, frames: Frames, allowed: Tensor | None = None) -> Frames:
        """allowed: [t, t] bool, which frame may see which at all, where the whole signal is more than one stream."""
        place = frames.place
        q, k, v = self.qkv(frames.zeroed()).split(self.widths, -1)
        q, k, v = self._queries(q, place), self._keys(k, place), self._values(v)
        seen = place.memo(("seen", self.window), lambda: self._whole_mask(place, allowed))
        bias = None
        if self.position == "relative":
            table = place.memo(("table", self.dim, self.high, self.low), lambda: self._whole_table(q))
            bias = skew(self._table_scores(q, self._split(self.pos(table)[None])))
        elif self.tabled:
            table = self.pos(sinusoid(self.high, self.low, self.dim, q.device).to(q.dtype))
            bias = self._looked_up(q, self._split(table[None]), place, place.index, place.index)
        return frames.like(self._attend(q, [k], [v], seen, bias))

    def _whole_table(self, q: Tensor) -> Tensor:
        """The sinusoids of distances t - 1 .. -t, [2 * t, d]; beyond the past and the future those of their edges."""
        t = q.shape[2]
        high, low = min(self.high, t - 1), max(self.low, -t)
        column = (high - torch.arange(t - 1, -t - 1, -1, device=q.device)).clamp(0, high - low)
        return sinusoid(high, low, self.dim, q.device).to(q.dtype)[column]

    def _whole_mask(self, place: Place, allowed: Tensor | None) -> Tensor:
        i, j = place.index[:, :, None], place.index[:, None, :]
        seen = self.window.sees(i, j) & place.valid[:, None, :]
        return seen if allowed is None else seen & allowed

    # one chunk

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        def cells(name: str, n: int) -> State:
            def zeros(width: int, dtype: torch.dtype | None) -> Tensor:
                return torch.zeros(slots, self.kv_heads, n, width, device=device, dtype=dtype)

            kept = {f"{name}{part}": zeros(self.head_dim, self.cells or dtype) for part in "kv"}
            return kept | ({f"{name}scale": zeros(2, torch.float32)} if self.cells else {})

        state = cells("", self.ring)
        if self.sinks:
            state |= cells("sink_", self.sinks)
        if self.look_ahead:
            state["q"] = torch.zeros(slots, self.look_ahead, self.widths[0], device=device, dtype=dtype)
        return state

    def step(self, frames: Frames, state: State, slots: Tensor, keep: int | None = None) -> Frames:
        """keep: how many of the frames, the first, stay in the ring; the others are seen in this step alone.

        What is not kept comes again, changed or not, in the next step, which begins behind what was kept. All are kept
        by default, as they must be with `right`, and cannot be with `ahead`.
        """
        place, count = frames.place, frames.data.shape[1]
        kept = count if keep is None else keep
        if self.chunk and (place.phase % self.chunk or kept % self.chunk or (self.ahead and keep is None)):
            raise ValueError(
                f"expected whole chunks of {self.chunk} frames and {self.ahead} ahead of them, got {count} frames, of "
                f"which to keep {kept}, from phase {place.phase}"
            )
        q, k, v = self.qkv(frames.zeroed()).split(self.widths, -1)  # outside may be anything: 0 * NaN is not 0
        out = self.moved(place, count) if self.look_ahead else place
        if self.look_ahead:
            q = shift(state["q"], slots, q)[:, :count]
        q, k, v = self._queries(q, out), self._keys(k, place), self._values(v)
        if self.cells or (isinstance(state["k"], Tensor) and fused(q, k, v, state["k"])):
            return Frames(self._fused(q, k, v, place, state, slots, kept), out)
        at, seen = place.memo(("keys", self.window, self.ring), lambda: self._chunk_mask(place, out))
        names = ("sink_", "") if self.sinks else ("",)
        keys = [*(chosen(state[f"{name}k"], slots) for name in names), k]
        values = [*(chosen(state[f"{name}v"], slots) for name in names), v]
        bias = None
        if self.tabled:
            bias = self._looked_up(q, self._folded(q), place, out.index, at)
        y = self._attend(q, keys, values, seen, bias)
        if kept:
            self._write(place, state, slots, k[:, :, :kept], v[:, :, :kept])
        return Frames(y, out)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, place: Place, state: State, slots: Tensor, kept: int) -> Tensor:
        """What the rest of `step` does, by one operation: q [b, h, t, e]; k, v [b, h', t, e] -> [b, t, d]."""
        table = sinks = None
        if self.tabled:
            laps = self.position if isinstance(self.position, Absolute) else None
            table = Table(self._folded(q)[0], self.u, self.v, self.high, laps)
        if self.sinks:
            sinks = Cells(state["sink_k"], state["sink_v"], state.get("sink_scale"))
        y = ring_attention(
            q, k, v, Cells(state["k"], state["v"], state.get("scale")), slots, place.start, place.stop, self.window,
            sinks=sinks, table=table, delay=self.look_ahead, keep=kept,
        )  # fmt: skip
        return self.out(y)

    def _chunk_mask(self, place: Place, out: Place) -> tuple[Tensor, Tensor]:
        """Positions of all keys a step sees, [b, n] (sinks, ring, chunk), and which query sees which, [b, t, n]."""
        at, there = key_positions(place.start, place.stop, place.count, self.ring, self.sinks)
        return at, self.window.sees(out.index[:, :, None], at[:, None, :]) & there[:, None, :]

    def _write(self, place: Place, state: State, slots: Tensor, k: Tensor, v: Tensor) -> None:
        count = k.shape[2]
        n = min(self.ring, count)
        if n:
            cell = place.memo(
                ("cell", self.ring, count), lambda: place.index[:, count - n : count].remainder(self.ring)
            )
            state["k"][slots[:, None], :, cell] = k[:, :, count - n :].transpose(1, 2)
            state["v"][slots[:, None], :, cell] = v[:, :, count - n :].transpose(1, 2)
        if self.sinks:
            cell = torch.arange(self.sinks, device=slots.device)
            source = cell - place.start[:, None]  # [b, sinks]: the chunk's frame that belongs in each sink
            here = ((source >= 0) & (source < count))[:, None, :, None]
            source = source.clamp(0, count - 1)[:, None, :, None].expand(-1, self.kv_heads, -1, k.shape[-1])
            for name, new in (("sink_k", k), ("sink_v", v)):
                state[name][slots] = torch.where(here, new.gather(2, source), state[name][slots])

    # shared

    def _queries(self, q: Tensor, place: Place) -> Tensor:
        """[b, t, h * e] -> [b, h, t, e], normed and turned."""
        q = self._split(q)
        return self._turned(self.norm_q(q) if self.qk_norm else q, place)

    def _keys(self, k: Tensor, place: Place) -> Tensor:
        """[b, t, h' * e] -> [b, h', t, e], normed and turned, as their cells give them back."""
        k = self._split(k)
        k = self._turned(self.norm_k(k) if self.qk_norm else k, place)
        return rounded(k, self.cells) if self.cells else k

    def _values(self, v: Tensor) -> Tensor:
        """[b, t, h' * e] -> [b, h', t, e], as their cells give them back."""
        v = self._split(v)
        return rounded(v, self.cells) if self.cells else v

    def _turned(self, x: Tensor, place: Place) -> Tensor:
        """x: [b, h, t, e] at its rotary positions."""
        rotary, e, dtype = self.rotary, self.head_dim, x.dtype
        if rotary is None:
            return x
        return rotary.turned(x, *place.memo(("turn", rotary, e, dtype), lambda: rotary.table(place.index, e, dtype)))

    def _attend(self, q: Tensor, keys: list[Tensor], values: list[Tensor], seen: Tensor, bias: Tensor | None) -> Tensor:
        """q: [b, h, t, e]; keys, values: parts [b, h', n_i, e]; seen: [b, t, n]; bias: [b, h, t, n] -> [b, t, d].

        The parts meet as scores, not as keys: for a few queries those are far fewer numbers to copy.
        """
        heads, t = q.shape[1:3]
        if bias is not None:
            q = q + self.u[:, None].to(q.dtype)
        if self.kv_heads != heads:  # heads of one group stand one below the other and meet their keys together
            q = q.reshape(len(q), self.kv_heads, -1, self.head_dim)
        score = torch.cat([q @ k.transpose(2, 3) for k in keys], -1).reshape(len(q), heads, t, -1)
        score = score if bias is None else score + bias
        score = (score * self.head_dim**-0.5).masked_fill(~seen[:, None], HIDDEN)
        weight = self.dropout(score.softmax(-1).to(values[0].dtype))
        if self.kv_heads != heads:
            weight = weight.reshape(len(q), self.kv_heads, -1, weight.shape[-1])
        shares = weight.split([v.shape[2] for v in values], -1)
        y = reduce(torch.add, map(torch.matmul, shares, values)).reshape(len(q), heads, t, self.head_dim)
        return self.out(y.transpose(1, 2).flatten(2))

    def _looked_up(self, q: Tensor, table: Tensor, place: Place, i: Tensor, j: Tensor) -> Tensor:
        """Scores of the positions at which queries of the frames i, [b, t], see keys of the frames j, [b, n]."""
        key = ("column", self.window, self.ring, self.position)
        column = place.memo(key, lambda: self._column(i[:, :, None], j[:, None, :]))
        return self._table_scores(q, table).gather(3, column[:, None].expand(-1, self.heads, -1, -1))

    def _table_scores(self, q: Tensor, table: Tensor) -> Tensor:
        """(q + v) . r for every r of a table. q: [b, h, t, e]; table: [1, h, n, e] -> [b, h, t, n]."""
        return torch.einsum("bhte,hne->bhtn", q + self.v[:, None].to(q.dtype), table[0])

    def _column(self, i: Tensor, j: Tensor) -> Tensor:
        """The table's column of a pair. A sink that is farther away than the past counts as its far edge."""
        at = self.position(i, j, self.grain) if isinstance(self.position, Absolute) else i - j
        return (self.high - at).clamp(0, self.high - self.low)

    def _folded(self, q: Tensor) -> Tensor:
        """The projected table of distances or positions, [1, h, n, e]; computed again only when the weights change."""
        weight = self.pos.weight
        version = (weight.data_ptr(), -1 if weight.is_inference() else weight._version, q.dtype)
        if self._table is None or self._table[0] != version:
            with torch.inference_mode(False), torch.no_grad():
                table = self.pos(sinusoid(self.high, self.low, self.dim, q.device).to(weight.dtype))
                self._table = (version, self._split(table[None]).to(q.dtype).contiguous())
        return self._table[1]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # [b, t, h * e] -> [b, h, t, e]


def chosen(cells: Tensor, slots: Tensor) -> Tensor:
    """The rows of a state tensor [slots, ...] that step; a stream that has it to itself gets it as it is, no copy."""
    return cells if cells.shape[0] == len(slots) == 1 else cells.index_select(0, slots)
