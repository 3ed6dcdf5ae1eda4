"""Triton kernels of one turn of greedy transducer decoding: `transducer_greedy` launches them."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.kernels.backend import jit, tl, triton
from speech.kernels.transducer_search import Rules, Search, Weights

TOKENS = 64  # columns of the scores a program makes
INNER = 64  # part of a dot product taken at a time


@jit
def _joint_kernel(
    acoustic, predicted, out, bias, at,  # [b, t, j], [b, j], [v, j], [v], [b]
    best, token, total,  # [b * window, parts]
    cells, t, v, parts, window,
    j: tl.constexpr, CELLS: tl.constexpr, TOKENS: tl.constexpr, INNER: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Some frames, of some rows, by some tokens: the best score, its token, and the sum of exp(score - best)."""
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    column = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    here, there = cell < cells, column < v
    row = cell // window
    frame = tl.minimum(tl.load(at + row, mask=here, other=0) + cell % window, t - 1)
    seen = (row.to(tl.int64) * t + frame) * j
    score = tl.zeros((CELLS, TOKENS), tl.float32)
    for begin in range(0, j, INNER):
        k = begin + tl.arange(0, INNER)
        pairs = here[:, None] & (k < j)[None, :]
        x = tl.load(acoustic + seen[:, None] + k[None, :], mask=pairs, other=0.0).to(tl.float32)
        x += tl.load(predicted + row[:, None] * j + k[None, :], mask=pairs, other=0.0).to(tl.float32)
        w = tl.load(out + column[None, :] * j + k[:, None], mask=there[None, :] & (k < j)[:, None], other=0.0)
        x = tl.maximum(x, 0.0).to(w.dtype)
        if WIDE:  # the interpreter cannot compute in bfloat16
            x, w = x.to(tl.float32), w.to(tl.float32)
        score = tl.dot(x, w, score, input_precision="ieee")
    score += tl.load(bias + column, mask=there, other=0.0).to(tl.float32)[None, :]
    score = tl.where(there[None, :], score, float("-inf"))
    top = tl.max(score, 1)
    where = cell * parts + tl.program_id(1)
    tl.store(best + where, top, mask=here)
    tl.store(token + where, tl.min(tl.where(score == top[:, None], column[None, :], v - 1), 1), mask=here)
    tl.store(total + where, tl.sum(tl.exp(score - top[:, None]), 1), mask=here)


@jit
def _look_kernel(
    best, token, total,  # [b, window, parts]
    start, end, at, burst, last,  # [b]
    h, c,  # [b, size]
    tokens, frames, logprobs, count,  # [b, turns], and how many of them: [b]
    fed, moves,  # [b]
    blank, window, parts, turns, max_symbols, restart,
    size: tl.constexpr, RESTARTS: tl.constexpr, WINDOW: tl.constexpr, PARTS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """One row: what it emits, where it goes, and which token it feeds the prediction network."""
    row = tl.program_id(0).to(tl.int64)
    first, stop, here = tl.load(start + row), tl.load(end + row), tl.load(at + row)
    before, so_far = tl.load(last + row), tl.load(burst + row)
    live, forget = here < stop, stop
    if RESTARTS:
        forget = tl.where(before > 0, before + restart - first, stop)
    stale = live & ((before == 0) | (here >= forget))
    limit = tl.minimum(stop, forget)

    k, part = tl.arange(0, WINDOW), tl.arange(0, PARTS)
    cell = (row * window + k[:, None]) * parts + part[None, :]
    there = (k < window)[:, None] & (part < parts)[None, :]
    score = tl.load(best + cell, mask=there, other=float("-inf"))
    top = tl.max(score, 1)
    winner = tl.min(tl.where(score == top[:, None], tl.load(token + cell, mask=there, other=blank), blank), 1)
    speaks = (winner != blank) & (here + k < limit) & (k < window)
    step = tl.min(tl.where(speaks, k, WINDOW), 0)
    emits, passes = live & (stale == 0) & (step < WINDOW), live & (stale == 0) & (step == WINDOW)
    said = tl.sum(tl.where(k == step, winner, 0), 0).to(tl.int64)
    mass = tl.load(total + cell, mask=there, other=0.0) * tl.exp(score - tl.where(k < window, top, 0.0)[:, None])
    mass = tl.sum(tl.where((k == step)[:, None], mass, 0.0))
    frame = here + step

    column = row * turns + tl.load(count + row)
    tl.store(tokens + column, said, mask=emits)
    tl.store(frames + column, first + frame, mask=emits)
    tl.store(logprobs + column, -tl.log(tl.where(emits, mass, 1.0)), mask=emits)
    tl.store(count + row, tl.load(count + row) + 1, mask=emits)

    grown = tl.where(step == 0, so_far, 0) + 1
    full = emits & (grown == max_symbols)
    tl.store(burst + row, tl.where(emits & (full == 0), grown, tl.where(stale, so_far, 0)))
    tl.store(last + row, tl.where(emits, first + frame + 1, tl.where(stale, -1, before)))
    passed = tl.where(passes, tl.minimum(here + window, limit), here)
    tl.store(at + row, tl.where(emits, frame + full.to(tl.int64), passed))
    tl.store(fed + row, tl.where(emits, said, blank))
    tl.store(moves + row, (emits | stale).to(tl.uint8))
    for begin in range(0, size, SIZE):
        x = begin + tl.arange(0, SIZE)
        tl.store(h + row * size + x, tl.zeros((SIZE,), h.dtype.element_ty), mask=(x < size) & stale)
        tl.store(c + row * size + x, tl.zeros((SIZE,), c.dtype.element_ty), mask=(x < size) & stale)


@jit
def _cell_kernel(gates, moves, h, c, d, h_stride, c_stride, SIZE: tl.constexpr):
    """What follows the matrix products of an LSTM: some units of one row. gates: [b, 4 d]; moves: [b]; h, c: [b, d]."""
    row = tl.program_id(0).to(tl.int64)
    x = tl.program_id(1) * SIZE + tl.arange(0, SIZE)
    mask = (x < d) & (tl.load(moves + row) != 0)
    gate = gates + row * 4 * d + x
    i = tl.sigmoid(tl.load(gate, mask=mask, other=0.0).to(tl.float32))
    f = tl.sigmoid(tl.load(gate + d, mask=mask, other=0.0).to(tl.float32))
    g = 2 * tl.sigmoid(2 * tl.load(gate + 2 * d, mask=mask, other=0.0).to(tl.float32)) - 1  # tanh
    o = tl.sigmoid(tl.load(gate + 3 * d, mask=mask, other=0.0).to(tl.float32))
    new = f * tl.load(c + row * c_stride + x, mask=mask, other=0.0).to(tl.float32) + i * g
    tl.store(c + row * c_stride + x, new, mask=mask)
    tl.store(h + row * h_stride + x, o * (2 * tl.sigmoid(2 * new) - 1), mask=mask)


def look(acoustic: Tensor, weights: Weights, search: Search, rules: Rules, fed: Tensor, moves: Tensor) -> None:
    """A turn up to the prediction network: which token every row feeds it, and whether the row does so at all.

    acoustic: [b, t, j]; fed: [b] int64 and moves: [b] bool are written. No score leaves the first kernel.
    """
    b, t, j = acoustic.shape
    v, cells, window = len(weights.out), b * rules.window, rules.window
    parts, block = -(-v // TOKENS), 16 if cells <= 256 else 64
    best = torch.empty(cells, parts, device=acoustic.device)
    token, total = torch.empty_like(best, dtype=torch.int32), torch.empty_like(best)
    _joint_kernel[triton.cdiv(cells, block), parts](
        acoustic, search.predicted, weights.out, weights.out_bias, search.at, best, token, total,
        cells, t, v, parts, window,
        j=j, CELLS=block, TOKENS=TOKENS, INNER=INNER, WIDE=not acoustic.is_cuda,
    )  # fmt: skip
    _look_kernel[(b,)](
        best, token, total, search.start, search.end, search.at, search.burst, search.last, search.h, search.c,
        search.tokens, search.frames, search.logprobs, search.count, fed, moves.view(torch.uint8),
        v - 1, window, parts, search.tokens.shape[1], rules.max_symbols, rules.restart or 0,
        size=search.h.stride(0), RESTARTS=rules.restart is not None, WINDOW=triton.next_power_of_2(window),
        PARTS=triton.next_power_of_2(parts), SIZE=512,
    )  # fmt: skip


def advance_cells(gates: Tensor, moves: Tensor, h: Tensor, c: Tensor) -> None:
    """Write the new h and c, [b, d], of an LSTM layer for the rows that move. gates: [b, 4 d] sums; moves: [b] bool."""
    d = h.shape[1]
    _cell_kernel[len(h), triton.cdiv(d, 256)](
        gates, moves.view(torch.uint8), h, c, d, h.stride(0), c.stride(0), SIZE=256
    )
