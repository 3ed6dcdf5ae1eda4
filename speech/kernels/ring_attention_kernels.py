"""The Triton kernels of ring attention; `speech.kernels.ring_attention` says what they compute and launches them.

A program has some rows of queries of one stream: frames of one head, or of all heads that share keys. Positions are
counted from the chunk's start, so that int32 is wide enough; the stream's first frame counts as 2 ** 30 frames away
when it is farther. Tiles of float32 are multiplied as three products of tf32: nearly as exact, on matrix units.
"""

from __future__ import annotations

from speech.kernels.backend import jit, tl


@jit
def attend_kernel(
    q, k, v, out, mixes, norms, ring_k, ring_v, ring_scale, sink_k, sink_v, sink_scale, u, positional, slots, start,
    stop, q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, ring_slot, ring_scale_slot, sink_slot, sink_scale_slot,
    HIGH: tl.constexpr, PERIOD: tl.constexpr, RESTART: tl.constexpr, LENGTH: tl.constexpr, LEFT: tl.constexpr,
    CHUNK: tl.constexpr, AHEAD: tl.constexpr, INITIAL: tl.constexpr, DELAY: tl.constexpr, RING: tl.constexpr,
    SINKS: tl.constexpr, KEEP: tl.constexpr, T: tl.constexpr, E: tl.constexpr, HEADS: tl.constexpr,
    SHARE: tl.constexpr, SCALED: tl.constexpr, SPLITS: tl.constexpr, ALONE: tl.constexpr, WIDEN: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, FRESH: tl.constexpr, EP: tl.constexpr,
):  # fmt: skip
    """Queries meet one split of the ring, the last split's sinks and chunk, too. Grid: (tiles of rows, b, SPLITS)."""
    TILES: tl.constexpr = (SHARE * T + ROWS - 1) // ROWS
    kv_head, b, split = tl.program_id(0) // TILES, tl.program_id(1).to(tl.int64), tl.program_id(2)
    r, e = tl.program_id(0) % TILES * ROWS + tl.arange(0, ROWS), tl.arange(0, EP)
    head, frame = kv_head * SHARE + r // T, r % T
    real = (r < SHARE * T)[:, None] & (e < E)[None, :]
    q += b * q_b
    query = tl.load(q + (head * q_h + frame * q_t)[:, None] + e[None, :], mask=real, other=0).to(tl.float32)
    if LENGTH > 0:
        query += tl.load(u + head[:, None] * E + e[None, :], mask=real, other=0)
    query *= E**-0.5 * 1.4426950408889634  # log2(e): weights are powers of two
    if not WIDEN:
        query = query.to(q.dtype.element_ty)

    slot, begin = tl.load(slots + b), tl.load(start + b)
    zero = tl.maximum(-begin, -(1 << 30)).to(tl.int32)  # where the stream begins
    end = tl.minimum(tl.maximum(tl.load(stop + b) - begin, -(1 << 30)), 1 << 30).to(tl.int32)
    opens, closes = _bounds(frame - DELAY, zero, LEFT, CHUNK, AHEAD, INITIAL)
    column = _column(frame - DELAY, begin, HIGH, CHUNK, PERIOD, RESTART)
    place = (b * T + frame) * HEADS + head
    positional += place * LENGTH
    k, v = k + b * k_b + kv_head * k_h, v + b * v_b + kv_head * v_h
    cells, scales = slot * ring_slot + kv_head * RING * E, slot * ring_scale_slot + kv_head * RING * 2
    ring_k, ring_v, ring_scale = ring_k + cells, ring_v + cells, ring_scale + scales
    cells, scales = slot * sink_slot + kv_head * SINKS * E, slot * sink_scale_slot + kv_head * SINKS * 2
    sink_k, sink_v, sink_scale = sink_k + cells, sink_v + cells, sink_scale + scales

    top = tl.full([ROWS], float("-inf"), tl.float32)
    mass, mix = tl.full([ROWS], 0.0, tl.float32), tl.full([ROWS, EP], 0.0, tl.float32)
    rows, sunk, mine = r < SHARE * T, zero + SINKS, split == SPLITS - 1
    if RING > 0:
        oldest, newest = tl.maximum(sunk, -RING), tl.minimum(end, 0)
        span = (newest - oldest + BLOCK * SPLITS - 1) // (BLOCK * SPLITS) * BLOCK  # whole tiles, shared out evenly
        oldest += split * span
        newest = tl.minimum(newest, oldest + span)
        top, mass, mix = _met(top, mass, mix, query, rows, opens, closes, sunk, ring_k, ring_v, ring_scale,
            E, E, begin, oldest, newest, positional, column, RING, E, LENGTH, PERIOD, SCALED, BLOCK, EP)  # fmt: skip
    if SINKS > 0:
        newest = tl.where(mine, tl.minimum(sunk, tl.minimum(end, 0)), zero)
        top, mass, mix = _met(top, mass, mix, query, rows, opens, closes, sunk, sink_k, sink_v, sink_scale,
            E, E, -zero, zero, newest, positional, column, SINKS, E, LENGTH, PERIOD, SCALED, BLOCK, EP)  # fmt: skip
    oldest, newest = tl.maximum(zero, 0), tl.where(mine, tl.minimum(end, T), 0)
    top, mass, mix = _met(top, mass, mix, query, rows, opens, closes, sunk, k, v, ring_scale,
        k_t, v_t, 0, oldest, newest, positional, column, T, E, LENGTH, PERIOD, False, FRESH, EP)  # fmt: skip

    if ALONE:
        tl.store(out + place[:, None] * E + e[None, :], mix / tl.where(mass > 0, mass, 1.0)[:, None], mask=real)
        tl.debug_barrier()  # every warp has read the ring before any writes to it
        _keep(k, v, k_t, v_t, ring_k, ring_v, ring_scale, sink_k, sink_v, sink_scale, begin,
            E, RING, SINKS, KEEP, SCALED, FRESH, EP)  # fmt: skip
    else:
        part = place * SPLITS + split
        tl.store(mixes + part[:, None] * E + e[None, :], mix, mask=real)
        tl.store(norms + 2 * part, top, mask=rows)
        tl.store(norms + 2 * part + 1, mass, mask=rows)


@jit
def _bounds(i, zero, LEFT: tl.constexpr, CHUNK: tl.constexpr, AHEAD: tl.constexpr, INITIAL: tl.constexpr):
    """Where what the rows i see begins and ends, sinks aside: `Window.sees`."""
    chunk = i if CHUNK == 1 else i // CHUNK * CHUNK
    opens, closes = chunk - LEFT, chunk + CHUNK + AHEAD
    if INITIAL > 0:
        together = i < zero + INITIAL
        opens = tl.where(together, zero, opens)
        closes = tl.where(together, tl.maximum(closes, zero + INITIAL), closes)
    return opens, closes


@jit
def _column(i, begin, HIGH: tl.constexpr, CHUNK: tl.constexpr, PERIOD: tl.constexpr, RESTART: tl.constexpr):
    """Which column of their positional scores the rows i look up for a key at 0: `Table.column`."""
    if PERIOD == 0:
        return HIGH - i
    else:
        ahead = i // CHUNK * CHUNK
        chunk = begin + ahead
        return (HIGH + ahead - tl.where(chunk < PERIOD, chunk, chunk % PERIOD + RESTART)).to(tl.int32)


@jit
def _met(
    top, mass, mix, query, real, opens, closes, sunk, k, v, scale, k_step, v_step, origin, oldest, newest, positional,
    column, SIZE: tl.constexpr, E: tl.constexpr, LENGTH: tl.constexpr, PERIOD: tl.constexpr, SCALED: tl.constexpr,
    BLOCK: tl.constexpr, EP: tl.constexpr,
):  # fmt: skip
    """Rows meet the keys of positions oldest .. newest - 1: the online softmax of arXiv 1805.02867, tile by tile.

    top, mass, mix: greatest score, sum of weights [rows] and weighted sum of values [rows, EP], until now and after.
    A key at position j lies in cell (origin + j) modulo SIZE.
    """
    lane, e = tl.arange(0, BLOCK), tl.arange(0, EP)
    first = oldest
    while first < newest:  # the interpreter has no `range` of what was computed
        cell, j = ((origin + first) % SIZE).to(tl.int32) + lane, first + lane
        cell = tl.where(cell < SIZE, cell, cell - SIZE)
        there = j < newest
        inside = there[:, None] & (e < E)[None, :]
        keys = tl.load(k + cell[:, None] * k_step + e[None, :], mask=inside, other=0.0).to(query.dtype)
        values = tl.load(v + cell[:, None] * v_step + e[None, :], mask=inside, other=0.0).to(query.dtype)
        score = tl.dot(query, tl.trans(keys), input_precision="tf32x3")
        if SCALED:
            score *= tl.load(scale + 2 * cell, mask=there, other=0)[None, :]
        if LENGTH > 0:
            at = column[:, None] + (-j if PERIOD > 0 else j)[None, :]
            at = positional[:, None] + tl.minimum(tl.maximum(at, 0), LENGTH - 1)
            score += tl.load(at, mask=real[:, None] & there[None, :], other=0)
        near = (j[None, :] >= opens[:, None]) | (j < sunk)[None, :]
        score = tl.where(there[None, :] & near & (j[None, :] < closes[:, None]), score, float("-inf"))
        higher = tl.maximum(top, tl.max(score, 1))
        base = tl.where(higher == float("-inf"), 0.0, higher)
        weight, fade = tl.exp2(score - base[:, None]), tl.exp2(top - base)
        top, mass = higher, mass * fade + tl.sum(weight, 1)
        if SCALED:
            weight *= tl.load(scale + 2 * cell + 1, mask=there, other=0)[None, :]
        mix = mix * fade[:, None] + tl.dot(weight.to(query.dtype), values, input_precision="tf32x3")
        first += BLOCK
    return top, mass, mix


@jit
def _keep(
    k, v, k_step, v_step, ring_k, ring_v, ring_scale, sink_k, sink_v, sink_scale, begin, E: tl.constexpr,
    RING: tl.constexpr, SINKS: tl.constexpr, KEEP: tl.constexpr, SCALED: tl.constexpr, BLOCK: tl.constexpr,
    EP: tl.constexpr,
):  # fmt: skip
    """The chunk's first KEEP keys and values of one head go into their cells."""
    e = tl.arange(0, EP)
    for first in range(0, KEEP, BLOCK):
        t = first + tl.arange(0, BLOCK)
        there, position = t < KEEP, begin + t
        inside = there[:, None] & (e < E)[None, :]
        keys = tl.load(k + t[:, None] * k_step + e[None, :], mask=inside, other=0)
        values = tl.load(v + t[:, None] * v_step + e[None, :], mask=inside, other=0)
        if RING > 0:
            cell, here = (position % RING + RING) % RING, there & (t >= KEEP - RING)
            _put(ring_k, ring_scale, keys, cell, here, E, SCALED, EP)
            _put(ring_v, ring_scale + 1, values, cell, here, E, SCALED, EP)
        if SINKS > 0:
            here = there & (position >= 0) & (position < SINKS)
            _put(sink_k, sink_scale, keys, position, here, E, SCALED, EP)
            _put(sink_v, sink_scale + 1, values, position, here, E, SCALED, EP)


@jit
def _put(cells, scale, x, cell, here, E: tl.constexpr, SCALED: tl.constexpr, EP: tl.constexpr):
    """Rows x [n, EP] into the cells [n] of one head; those of 8 bits get a scale each: `eight_bits.quantised`."""
    e = tl.arange(0, EP)
    if SCALED:
        WHOLE: tl.constexpr = cells.dtype.element_ty == tl.int8
        greatest = 127.0 if WHOLE else 448.0
        x = x.to(tl.float32)
        peak = tl.max(tl.abs(x), 1)
        x *= (greatest / tl.where(peak > 0, peak, 1.0))[:, None]
        x = tl.floor(x + 0.5).to(tl.int8) if WHOLE else _fewer_bits(x).to(tl.float8e4nv)
        tl.store(scale + 2 * cell, peak / greatest, mask=here)
    tl.store(cells + cell[:, None] * E + e[None, :], x, mask=here[:, None] & (e < E)[None, :])


@jit
def _fewer_bits(x):
    """float32 to the nearest with the four significant bits of e4m3: the interpreter converts no others rightly."""
    bits = x.to(tl.int32, bitcast=True)
    bits = (bits + 0x7FFFF + ((bits >> 20) & 1)) & -0x100000
    return bits.to(tl.float32, bitcast=True)


@jit
def place_kernel(
    q, v, table, out, q_b, q_h, q_t, COUNT, LENGTH: tl.constexpr, T: tl.constexpr, E: tl.constexpr,
    HEADS: tl.constexpr, WIDEN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, EP: tl.constexpr,
):  # fmt: skip
    """(q + v) . r for all r of the table, scaled as `attend_kernel` wants it. Grid: (tiles of b * t, heads, of r)."""
    r, e = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS), tl.arange(0, EP)
    head, n = tl.program_id(1), tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    real, within = (r < COUNT)[:, None], (e < E)[None, :]
    at = (r // T * q_b + r % T * q_t + head * q_h)[:, None] + e[None, :]
    query = tl.load(q + at, mask=real & within, other=0).to(tl.float32)
    query += tl.load(v + head * E + e, mask=e < E, other=0)[None, :]
    query *= E**-0.5 * 1.4426950408889634
    if not WIDEN:
        query = query.to(q.dtype.element_ty)
    at = (head * LENGTH + n)[:, None] * E + e[None, :]
    vectors = tl.load(table + at, mask=(n < LENGTH)[:, None] & within, other=0).to(query.dtype)
    score = tl.dot(query, tl.trans(vectors), input_precision="tf32x3")
    tl.store(out + (r * HEADS + head)[:, None] * LENGTH + n[None, :], score, mask=real & (n < LENGTH)[None, :])


@jit
def join_kernel(
    k, v, out, mixes, norms, ring_k, ring_v, ring_scale, sink_k, sink_v, sink_scale, slots, start,
    k_b, k_h, k_t, v_b, v_h, v_t, ring_slot, ring_scale_slot, sink_slot, sink_scale_slot,
    RING: tl.constexpr, SINKS: tl.constexpr, KEEP: tl.constexpr, T: tl.constexpr, E: tl.constexpr,
    HEADS: tl.constexpr, SHARE: tl.constexpr, SCALED: tl.constexpr, SPLITS: tl.constexpr, ROWS: tl.constexpr,
    EP: tl.constexpr,
):  # fmt: skip
    """What the splits found becomes one, and the chunk is kept. Grid: (heads, b)."""
    head, b, e = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.arange(0, EP)
    for first in range(0, T, ROWS):
        frame = first + tl.arange(0, ROWS)
        real = (frame < T)[:, None] & (e < E)[None, :]
        place = (b * T + frame) * HEADS + head
        top = tl.full([ROWS], float("-inf"), tl.float32)
        mass, mix = tl.full([ROWS], 0.0, tl.float32), tl.full([ROWS, EP], 0.0, tl.float32)
        for split in tl.static_range(SPLITS):  # type: ignore[attr-defined]  # unrolled: all loads go at once
            part = place * SPLITS + split
            other = tl.load(norms + 2 * part, mask=frame < T, other=float("-inf"))
            higher = tl.maximum(top, other)
            base = tl.where(higher == float("-inf"), 0.0, higher)
            fade, gain = tl.exp2(top - base), tl.exp2(other - base)
            top, mass = higher, mass * fade + gain * tl.load(norms + 2 * part + 1, mask=frame < T, other=0)
            more = tl.load(mixes + part[:, None] * E + e[None, :], mask=real, other=0)
            mix = mix * fade[:, None] + more * gain[:, None]
        tl.store(out + place[:, None] * E + e[None, :], mix / tl.where(mass > 0, mass, 1.0)[:, None], mask=real)
    if head % SHARE == 0:
        slot, kv_head = tl.load(slots + b), head // SHARE
        ring, sink = slot * ring_slot + kv_head * RING * E, slot * sink_slot + kv_head * SINKS * E
        ring_scale += slot * ring_scale_slot + kv_head * RING * 2
        sink_scale += slot * sink_scale_slot + kv_head * SINKS * 2
        _keep(k + b * k_b + kv_head * k_h, v + b * v_b + kv_head * v_h, k_t, v_t, ring_k + ring, ring_v + ring,
            ring_scale, sink_k + sink, sink_v + sink, sink_scale, tl.load(start + b),
            E, RING, SINKS, KEEP, SCALED, ROWS, EP)  # fmt: skip
