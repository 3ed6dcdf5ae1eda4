"""Attention over a ring of cached keys and values: a chunk attends to what is kept and to itself, then it is kept.

Frame p of a stream lies in cell p modulo the ring's capacity, the first frames ("sinks") in cells of their own. So all
positions follow from the chunk's start, nothing is ever moved, and whether a query sees a key is arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from speech.kernels.backend import infers
from speech.kernels.eight_bits import dequantised, quantised
from speech.kernels.ring_attention_kernels import attend_kernel, join_kernel, place_kernel


@dataclass(frozen=True)
class Window:
    """Which keys a query sees, by position alone: from `left` frames before its chunk to `ahead` frames behind it.

    chunk: how many frames make a chunk, counted from frame 0; with 1 the window slides frame by frame. The first
    `sinks` frames are seen for ever (Xiao et al. 2023, arXiv 2309.17453); the first `initial` ones all see one another.
    """

    left: int
    chunk: int = 1
    ahead: int = 0
    sinks: int = 0
    initial: int = 0

    def sees(self, i: Tensor, j: Tensor) -> Tensor:
        """Whether queries of the frames i see keys of the frames j: int64, broadcast -> bool."""
        begin = i if self.chunk == 1 else i.div(self.chunk, rounding_mode="floor") * self.chunk
        opens, closes = begin - self.left, begin + (self.chunk + self.ahead)
        if self.initial:
            together = i < self.initial
            opens, closes = opens.masked_fill(together, 0), closes.where(~together, closes.clamp(min=self.initial))
        near = j >= opens
        return (near | (j < self.sinks) if self.sinks else near) & (j < closes)


@dataclass(frozen=True)
class Absolute:
    """Relative attention's scores, with the sinusoid of a key's own position where that of its distance would stand.

    WeNet's relative attention is this: it leaves out the shift of Dai et al. 2019, appendix B. Positions are counted in
    laps of `period` frames, a whole number of chunks, the first lap from 0 and all others from `restart`, so that a
    stream may last for ever. A query's chunk says in which lap it sees its keys, so those before may lie below it.
    """

    period: int
    restart: int

    def __call__(self, i: Tensor, j: Tensor, chunk: int) -> Tensor:
        """The positions at which queries of the frames i see keys of the frames j; both broadcast."""
        begin = i.div(chunk, rounding_mode="floor") * chunk
        return torch.where(begin < self.period, begin, begin % self.period + self.restart) + j - begin


class Cells(NamedTuple):
    """Keys and values of many streams, k, v: [slots, h', n, e], a slot's cells contiguous, as they lie in an arena.

    Those of 8 bits, int8 or float8_e4m3fn, have scales [slots, h', n, 2] float32, a key's and a value's: what is meant
    is scale * cell, see `eight_bits.quantised`.
    """

    k: Tensor
    v: Tensor
    scale: Tensor | None = None


class Table(NamedTuple):
    """Positions as vectors: a query scores (q + u) . k + (q + v) . r (Dai et al. 2019, section 3.3).

    rows: [h, n, e] contiguous, r of the distances i - j = high, high - 1, .. (of positions instead, with `absolute`);
    what lies beyond an end of the table counts as that end. u, v: [h, e].
    """

    rows: Tensor
    u: Tensor
    v: Tensor
    high: int
    absolute: Absolute | None = None

    def column(self, i: Tensor, j: Tensor, chunk: int) -> Tensor:
        """Which of the rows a query of frame i and a key of frame j want: int64, broadcast."""
        at = self.absolute(i, j, chunk) if self.absolute else i - j
        return (self.high - at).clamp(0, self.rows.shape[1] - 1)


def ring_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ring: Cells,
    slots: Tensor,
    start: Tensor,
    stop: Tensor,
    window: Window,
    *,
    sinks: Cells | None = None,
    table: Table | None = None,
    delay: int = 0,
    keep: int | None = None,
    splits: int | None = None,
) -> Tensor:
    """The chunk's queries attend to sinks, ring and chunk; then keys and values of the chunk are kept, in place.

    q: [b, h, t, e]; k, v: [b, h', t, e] with h a multiple of h'; normed, turned, not scaled. slots: [b] int64, no two
    the same; slots that are not listed are not touched. start, stop: [b] int64, the stream index of the chunk's first
    frame, a multiple of `window.chunk`, and where the stream stops: keys outside [0, stop) are seen by nobody, whatever
    they hold. sinks: `window.sinks` cells. delay: so many frames queries stand behind the keys that come with them,
    with sliding windows. keep: how many of the chunk's frames, the first, are kept (default: all). splits: how many
    programs share a ring (default: as many as it takes to occupy the card).

    Returns [b, t, h * e] in the dtype of q, zeros for a query that sees nothing. Sums are float32 at least.
    """
    if not fused(q, k, v, ring.k, *(table[:3] if table else ())):
        return ring_attention_reference(
            q, k, v, ring, slots, start, stop, window, sinks=sinks, table=table, delay=delay, keep=keep
        )
    return _launch(q, k, v, ring, slots, start, stop, window, sinks, table, delay, keep, splits)


def fused(q: Tensor, *others: Tensor | None) -> bool:
    """Whether `ring_attention` of these tensors runs as a kernel, which takes heads of up to 128 channels."""
    return q.shape[-1] <= 128 and infers(q, *others)


def ring_attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ring: Cells,
    slots: Tensor,
    start: Tensor,
    stop: Tensor,
    window: Window,
    *,
    sinks: Cells | None = None,
    table: Table | None = None,
    delay: int = 0,
    keep: int | None = None,
) -> Tensor:
    """The same in PyTorch, with all keys side by side."""
    b, h, t, e = q.shape
    wide = torch.promote_types(q.dtype, torch.float32)
    cached = [_read(cells, slots, wide) for cells in (sinks, ring) if cells is not None]
    keys = torch.cat([*(pair[0] for pair in cached), k.to(wide)], 2).repeat_interleave(h // k.shape[1], 1)
    values = torch.cat([*(pair[1] for pair in cached), v.to(wide)], 2).repeat_interleave(h // k.shape[1], 1)
    j, there = key_positions(start, stop, t, ring.k.shape[2], window.sinks)
    i, j = (start[:, None] - delay + torch.arange(t, device=q.device))[:, :, None], j[:, None, :]
    hidden = ~(window.sees(i, j) & there[:, None, :])[:, None]
    query = q.to(wide)
    if table is None:
        score = query @ keys.transpose(2, 3)
    else:
        column = table.column(i, j, window.chunk)[:, None].expand(-1, h, -1, -1)
        score = (query + table.u[:, None]) @ keys.transpose(2, 3)
        score = score + ((query + table.v[:, None]) @ table.rows.to(wide).transpose(1, 2)).gather(3, column)
    weight = (score * e**-0.5).masked_fill(hidden, torch.finfo(wide).min).softmax(-1).masked_fill(hidden, 0)
    y = weight @ values.masked_fill(~there[:, None, :, None], 0)
    kept = t if keep is None else keep
    here = ring_positions(start + kept, ring.k.shape[2]) - start[:, None]
    _write(ring, slots, here, k[:, :, :kept], v[:, :, :kept])
    if sinks is not None:
        here = torch.arange(window.sinks, device=q.device) - start[:, None]
        _write(sinks, slots, here, k[:, :, :kept], v[:, :, :kept])
    return y.transpose(1, 2).reshape(b, t, h * e).to(q.dtype)


def key_positions(start: Tensor, stop: Tensor, count: int, ring: int, sinks: int) -> tuple[Tensor, Tensor]:
    """Of all keys a chunk of `count` frames meets (sinks, ring, chunk), the frames, and whether there is such a key.

    start, stop: [b] -> [b, sinks + ring + count] int64 and bool. ring, sinks: how many cells there are.
    """
    sink = torch.arange(sinks, device=start.device).expand(len(start), -1)
    chunk = start[:, None] + torch.arange(count, device=start.device)
    at = torch.cat([sink, ring_positions(start, ring), chunk], 1)
    there = (at >= 0) & (at < stop[:, None])
    if sinks:
        there[:, :sinks] &= sink < start[:, None]
        there[:, sinks : sinks + ring] &= at[:, sinks : sinks + ring] >= sinks
    return at, there


def ring_positions(end: Tensor, capacity: int) -> Tensor:
    """The frame in each cell of a ring that has got all frames before `end`: [b] -> [b, capacity]."""
    last = end[:, None] - 1
    return last - (last - torch.arange(capacity, device=end.device)).remainder(max(capacity, 1))


def _read(cells: Cells, slots: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    k, v = cells.k[slots], cells.v[slots]
    if cells.scale is None:
        return k.to(dtype), v.to(dtype)
    k_scale, v_scale = cells.scale[slots].unbind(-1)
    return dequantised(k, k_scale, dtype), dequantised(v, v_scale, dtype)


def _write(cells: Cells, slots: Tensor, frame: Tensor, k: Tensor, v: Tensor) -> None:
    """Fill every cell for which there is a frame of the chunk. frame: [b, n], inside the chunk or not."""
    here = ((frame >= 0) & (frame < k.shape[2]))[:, None, :, None]
    if not frame.shape[1] or not k.shape[2]:
        return
    source = frame.clamp(0, k.shape[2] - 1)[:, None, :, None].expand(-1, k.shape[1], -1, k.shape[3])
    for n, (x, target) in enumerate(((k, cells.k), (v, cells.v))):
        new = x.gather(2, source)
        if cells.scale is not None:
            new, scale = quantised(new, target.dtype)
            cells.scale[slots, ..., n] = torch.where(here[..., 0], scale, cells.scale[slots, ..., n])
        target[slots] = torch.where(here, new, target[slots])


def _launch(
    q: Tensor, k: Tensor, v: Tensor, ring: Cells, slots: Tensor, start: Tensor, stop: Tensor, window: Window,
    sinks: Cells | None, table: Table | None, delay: int, keep: int | None, splits: int | None,
) -> Tensor:  # fmt: skip
    b, h, t, e = q.shape
    slots, start, stop = slots.contiguous(), start.contiguous(), stop.contiguous()
    q, k, v = (x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v))
    kv_heads, capacity = ring.k.shape[1:3]
    share = h // kv_heads  # heads that share keys meet them together
    rows, block = _block(share * t, 64), _block(capacity, 64)
    programs = kv_heads * _tiles(share * t, rows)
    if splits is None:
        splits = max(1, min(_multiprocessors(q.device) // (b * programs), _tiles(capacity, block), 16))
    alone = splits == 1 and programs == kv_heads  # a ring's only program may overwrite what it has read
    out = q.new_empty(b, t, h * e)
    mixes, norms = (out, out) if alone else (_parts(out, h, splits, e), _parts(out, h, splits, 2))
    cells = [out if x is None else x for x in (*ring, *(sinks or ring))]
    sizes = {
        "RING": capacity, "SINKS": window.sinks, "KEEP": t if keep is None else keep, "T": t, "E": e, "HEADS": h,
        "SHARE": share, "SCALED": ring.scale is not None, "SPLITS": splits, "EP": _block(e, 128),
    }  # fmt: skip
    strides = [*k.stride()[:3], *v.stride()[:3], *(cells[i].stride(0) for i in (0, 2, 3, 5))]
    laps = (table and table.absolute) or Absolute(0, 0)
    attend_kernel[programs, b, splits](
        q, k, v, out, mixes, norms, *cells, table.u if table else out, _placed(q, table) if table else out, slots,
        start, stop, *q.stride()[:3], *strides, HIGH=table.high if table else 0, PERIOD=laps.period,
        RESTART=laps.restart, LENGTH=table.rows.shape[1] if table else 0, LEFT=window.left, CHUNK=window.chunk,
        AHEAD=window.ahead, INITIAL=window.initial, DELAY=delay, ALONE=alone, WIDEN=not q.is_cuda, ROWS=rows,
        BLOCK=block, FRESH=_block(t, 64), **sizes, num_warps=8 if rows == 64 else 4,
    )  # fmt: skip
    if not alone:
        join_kernel[h, b](k, v, out, mixes, norms, *cells, slots, start, *strides, ROWS=16, **sizes)
    return out


def _placed(q: Tensor, table: Table) -> Tensor:
    """The scores of all rows of the table: [b, t, h, n] float32."""
    b, h, t, e = q.shape
    length = table.rows.shape[1]
    out = torch.empty(b, t, h, length, dtype=torch.float32, device=q.device)
    rows, block = _block(b * t, 64), _block(length, 64)
    place_kernel[_tiles(b * t, rows), h, _tiles(length, block)](
        q, table.v, table.rows, out, *q.stride()[:3], b * t, LENGTH=length, T=t, E=e, HEADS=h,
        WIDEN=not q.is_cuda, ROWS=rows, BLOCK=block, EP=_block(e, 128),
    )  # fmt: skip
    return out


def _block(count: int, most: int) -> int:
    """How many of `count` things lie in one tile: a power of two that matrix units take."""
    return min(max(1 << (count - 1).bit_length(), 16), most)


def _tiles(count: int, size: int) -> int:
    return -(-count // size)


def _parts(out: Tensor, heads: int, splits: int, width: int) -> Tensor:
    b, t, _ = out.shape
    return torch.empty(b, t, heads, splits, width, dtype=torch.float32, device=out.device)


def _multiprocessors(device: torch.device) -> int:
    """Of a card; elsewhere programs run one after another."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
