"""Streams through the ring, step by step, against float64 attention over all that each of them has ever brought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from speech.kernels.eight_bits import DTYPES
from speech.kernels.eight_bits import rounded as in_eight_bits
from speech.kernels.ring_attention import (
    Absolute,
    Cells,
    Table,
    Window,
    fused,
    ring_attention,
    ring_attention_reference,
)
from speech.kernels.ring_attention_kernels import attend_kernel
from speech.streaming.arena import Arena
from speech.streaming.attention import Attention
from speech.streaming.frames import OPEN, Frames, Place
from tests.kernels.tolerances import TOLERANCES

SLOTS = 4
Past = dict[int, tuple[Tensor, Tensor]]
"""By frame the key and the value [h', e] that it brought, float64."""


@dataclass(frozen=True)
class Case:
    """Two streams that start at `starts` and step by `steps` frames, of which the last `extra` are not kept."""

    window: Window
    steps: tuple[int, ...]
    starts: tuple[int, ...] = (0, 0)
    stops: tuple[int, ...] = (OPEN, OPEN)
    heads: int = 1
    kv_heads: int = 1
    e: int = 16
    delay: int = 0
    extra: int = 0
    table: str = ""
    splits: int | None = None


FAR = 1 << 31
CASES = {
    "sliding": Case(Window(5), (1, 17, 3), (0, -2), e=7),
    "sliding ahead": Case(Window(4, ahead=3), (2, 5, 3), (0, -3), (9, 3), delay=3, table="relative"),
    "chunks": Case(Window(6, 3), (3, 6, 3), (30, -3), (38, OPEN), heads=2, kv_heads=2, e=48, table="relative"),
    "chunks alone": Case(Window(0, 2), (2, 4)),
    "sinks": Case(Window(4, 2, sinks=3), (2, 4, 2), (0, -2), table="relative", splits=2),
    "sliding sinks": Case(Window(3, ahead=2, sinks=4), (1, 3, 4), delay=2, table="relative"),
    "ahead of the chunk": Case(Window(4, 2, ahead=1), (3, 5, 3), extra=1),
    "initial block": Case(Window(4, 2, sinks=1, initial=6), (6, 2), (0, 8)),
    "absolute": Case(Window(4, 2), (2, 6, 2), (6, 40), table="absolute"),
    "grouped": Case(Window(70), (33, 1), (3, 0), heads=4, kv_heads=2, e=17, splits=2),
    "grouped relative": Case(Window(6, 2), (2, 4), heads=4, kv_heads=2, table="relative"),
    "grouped by tiles": Case(Window(20), (23, 1), heads=3, table="relative"),
    "a long ring": Case(Window(100), (64, 40), table="relative", splits=2),
    "heads of 32": Case(Window(6, 2), (2, 4), (0, -2), e=32, table="relative"),
    "heads of 96": Case(Window(5, ahead=1), (1, 17), delay=1, e=96, table="relative"),
    "heads of 128": Case(Window(70), (3, 64, 9), (0, -2), heads=2, e=128, table="relative"),
    "far into the stream": Case(Window(4, sinks=2), (3, 1), (4 * FAR, FAR - 2), table="relative"),
}

OPS: dict[str, Callable[..., Tensor]] = {"kernel": ring_attention, "reference": ring_attention_reference}


def cells(case: Case, count: int, device: torch.device, dtype: torch.dtype) -> Cells:
    """Views of rows that hold other things besides, as in an arena; all zeros, the rest NaN."""
    size = case.kv_heads * count * case.e
    scaled = dtype in DTYPES.values()
    quiet = torch.zeros((), dtype=dtype).new_full((SLOTS, 2 * size + 5), 0 if scaled else float("nan"))
    k, v = (quiet.to(device)[:, n : n + size].zero_().view(SLOTS, case.kv_heads, count, case.e) for n in (0, size + 3))
    scale = torch.zeros(SLOTS, case.kv_heads, count, 2, device=device) if scaled else None
    return Cells(k, v, scale)


def table_of(case: Case, device: torch.device, dtype: torch.dtype) -> Table | None:
    window = case.window
    if not case.table:
        return None
    absolute = Absolute(4 * window.chunk, window.left) if case.table == "absolute" else None
    high = absolute.restart + absolute.period - 1 if absolute else window.left + window.chunk - 1
    low = 0 if absolute else -(window.ahead + window.chunk - 1)
    rows = torch.randn(case.heads, high - low + 1, case.e)
    u, v = torch.randn(2, case.heads, case.e)
    return Table(rows.to(device, dtype), u.to(device), v.to(device), high, absolute)


def seen(window: Window, i: int, j: int) -> bool:
    """Window.sees, pair by pair, as the classes of streaming.attention describe it."""
    ago = i // window.chunk - j // window.chunk
    if window.chunk == 1:
        near = i - window.left <= j <= i + window.ahead
        return near or (j < window.sinks and j <= i + window.ahead)
    near = 0 <= ago <= window.left // window.chunk or (ago == -1 and j % window.chunk < window.ahead)
    return near or (j < window.sinks and ago >= 0) or max(i, j) < window.initial


def position(case: Case, table: Table, i: int, j: int) -> Tensor:
    """At which a query of frame i sees a key of frame j, distances counting as positions."""
    here, there = torch.tensor(i), torch.tensor(j)
    return here - there if table.absolute is None else table.absolute(here, there, case.window.chunk)


def exact(case: Case, q: Tensor, past: Past, first: int, table: Table | None) -> Tensor:
    """float64 attention of one stream. q: [h, t, e]; -> [t, h * e]."""
    share = case.heads // case.kv_heads
    rows = []
    for i, x in enumerate(q.double().unbind(1), first):
        js = [j for j in past if seen(case.window, i, j)]
        if not js:
            rows.append(torch.zeros(case.heads * case.e, dtype=torch.float64))
            continue
        k, v = (torch.stack([past[j][n] for j in js], 1).repeat_interleave(share, 0) for n in (0, 1))
        score = torch.einsum("he,hne->hn", x + table.u.double() if table else x, k)
        if table:
            at = torch.stack([position(case, table, i, j) for j in js])
            vectors = table.rows.double()[:, (table.high - at).clamp(0, table.rows.shape[1] - 1)]
            score += torch.einsum("he,hne->hn", x + table.v.double(), vectors)
        rows.append(torch.einsum("hn,hne->he", (score / case.e**0.5).softmax(-1), v).flatten())
    return torch.stack(rows)


def stream(
    case: Case, op: Callable[..., Tensor], device: torch.device, dtype: torch.dtype, kept: torch.dtype | None = None
) -> None:
    torch.manual_seed(0)
    window, table, kept = case.window, table_of(case, device, dtype), kept or dtype
    far = table and table._replace(rows=table.rows.cpu(), u=table.u.cpu(), v=table.v.cpu())
    ring = cells(case, window.left + case.delay, device, kept)
    sinks = cells(case, window.sinks, device, kept) if window.sinks else None
    zero = torch.zeros(case.kv_heads, case.e, dtype=torch.float64)  # what lies before a stream that begins late
    ages = [(max(0, s - window.left - case.delay), s) for s in case.starts]
    pasts: list[Past] = [dict.fromkeys([*range(min(window.sinks, s)), *range(old, s)], (zero, zero)) for old, s in ages]
    start, stop = torch.tensor(case.starts), torch.tensor(case.stops)
    slots = torch.tensor([3, 0])
    options = {"table": table, "sinks": sinks, "delay": case.delay} | (
        {"splits": case.splits} if op is ring_attention else {}
    )
    for count in case.steps:
        q = torch.randn(2, count, case.heads, case.e).to(dtype).transpose(1, 2)
        k, v = torch.randn(2, 2, count, case.kv_heads, case.e).to(dtype).transpose(2, 3)
        index = start[:, None] + torch.arange(count)
        outside = ((index < 0) | (index >= stop[:, None]))[:, None, :, None]
        keep = count - case.extra
        junk = 1e3 if ring.scale is not None else float("nan")
        given = [x.to(device) for x in (q, k.masked_fill(outside, junk), v.masked_fill(outside, junk))]
        before = [x.clone() for x in (*ring, *(sinks or ())) if x is not None]
        place = (x.to(device) for x in (slots, start, stop))
        y = op(*given, ring, *place, window, keep=keep, **options)
        assert y.dtype == dtype and y.shape == (2, count, case.heads * case.e)
        for x, old in zip((x for x in (*ring, *(sinks or ())) if x is not None), before, strict=True):
            assert torch.equal(x[[1, 2]].double(), old[[1, 2]].double()), "a slot changed that was not listed"
        for b, past in enumerate(pasts):
            fresh = {p: (k[b, :, n].double(), v[b, :, n].double()) for n, p in enumerate(index[b].tolist()) if p >= 0}
            chunk = {p: pair for p, pair in fresh.items() if p < int(stop[b])}
            expected = exact(case, q[b], past | chunk, int(start[b]) - case.delay, far)
            rtol, atol = TOLERANCES[dtype]
            torch.testing.assert_close(y[b].cpu().double(), expected, rtol=rtol, atol=atol)
            past.update({p: rounded(pair, kept) for p, pair in chunk.items() if p < int(start[b]) + keep})
        start = start + keep
        slots, start, stop, pasts = slots.flip(0), start.flip(0), stop.flip(0), pasts[::-1]


def rounded(pair: tuple[Tensor, Tensor], kept: torch.dtype) -> tuple[Tensor, Tensor]:
    """What a ring of the dtype gives back."""
    if kept not in DTYPES.values():
        return pair
    k, v = (in_eight_bits(x, kept) for x in pair)
    return k, v


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.usefixtures("poisoned")
@torch.inference_mode()
def test_streams_equal_float64_attention_over_their_whole_past(name: str, op: str, device: torch.device) -> None:
    stream(CASES[name], OPS[op], device, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.usefixtures("poisoned")
@torch.inference_mode()
def test_sixteen_bits_are_summed_in_thirty_two(dtype: torch.dtype, op: str, device: torch.device) -> None:
    stream(CASES["grouped relative"], OPS[op], device, dtype)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("name", ["sliding sinks", "chunks", "grouped"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.usefixtures("poisoned")
@torch.inference_mode()
def test_a_ring_of_bytes_loses_nothing_but_the_rounding(op: str, name: str, kind: str, device: torch.device) -> None:
    stream(CASES[name], OPS[op], device, torch.float32, DTYPES[kind])


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.usefixtures("poisoned")
@torch.inference_mode()
def test_a_ring_of_bytes_takes_sixteen_bits(dtype: torch.dtype, kind: str, device: torch.device) -> None:
    stream(CASES["grouped relative"], ring_attention, device, dtype, DTYPES[kind])


@pytest.mark.parametrize(("multiprocessors", "splits"), [(1, 1), (7, 3), (132, 4)])
@pytest.mark.usefixtures("poisoned")
@torch.inference_mode()
def test_a_ring_is_split_while_programs_are_fewer_than_multiprocessors(
    multiprocessors: int, splits: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two streams of one head; a tile is of 64 cells, so a ring of 200 has four at the most."""
    met: list[int] = []

    class Noted:
        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            met.append(grid[2])
            return attend_kernel[grid]

    monkeypatch.setattr("speech.kernels.ring_attention.attend_kernel", Noted())
    monkeypatch.setattr("speech.kernels.ring_attention._multiprocessors", lambda _: multiprocessors)
    stream(Case(Window(200), (1, 33), (220, -2)), ring_attention, device, torch.float32)
    assert met == [splits] * 2


@torch.inference_mode()
def test_a_query_that_sees_nothing_gives_zeros(device: torch.device) -> None:
    case, x = CASES["sliding"], torch.full((1, 1, 2, 7), float("nan"), device=device)
    past = torch.tensor([-9], device=device)
    for op in OPS.values():
        y = op(x.zero_(), x, x, cells(case, 5, device, torch.float32), past + 9, past, past + 20, case.window)
        assert not y.any()


def test_where_gradients_are_wanted_the_reference_runs(device: torch.device) -> None:
    case, one = CASES["chunks alone"], torch.zeros(1, dtype=torch.long, device=device)
    q = torch.randn(1, 1, 2, 16, device=device, requires_grad=True)
    assert not fused(q)
    ring_attention(q, q, q, cells(case, 0, device, torch.float32), one, one, one + 9, case.window).sum().backward()
    assert q.grad is not None and q.grad.isfinite().all()
    with torch.no_grad():
        assert fused(q) and not fused(q.double()) and not fused(torch.zeros(1, 1, 1, 129, device=device))


MODULES: dict[str, dict] = {
    "relative": {"left": 4, "chunk": 2, "sinks": 1},
    "sliding": {"left": 3, "right": 2, "position": "rotary", "kv_heads": 1, "qk_norm": True},
    "absolute": {"left": 4, "chunk": 2, "position": Absolute(6, 4)},
    "ahead": {"left": 4, "chunk": 2, "ahead": 1, "position": "none"},
    "int8": {"left": 4, "chunk": 2, "sinks": 1, "cells": torch.int8},
    "fp8": {"left": 4, "chunk": 2, "sinks": 1, "cells": torch.float8_e4m3fn},
}


@pytest.mark.parametrize("name", MODULES)
@torch.inference_mode()
def test_a_module_steps_alike_with_and_without_the_kernel(name: str, device: torch.device) -> None:
    torch.manual_seed(0)
    module = Attention(8, 2, **MODULES[name]).to(device)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    arenas = [Arena(module, 3) for _ in range(2)]
    slots, start = torch.tensor([2, 0], device=device), torch.tensor([0, -2], device=device)
    count, keep = (3, 2) if module.ahead else (4, None)
    for _ in range(3):
        frames = Frames(torch.randn(2, count, 8, device=device), Place(start, torch.full_like(start, 9), count))
        y = module.step(frames, arenas[0].state, slots, keep)
        with pytest.MonkeyPatch.context() as patch:
            for home in ("streaming.attention", "kernels.ring_attention"):
                patch.setattr(f"speech.{home}.fused", lambda *_: False)
            expected = module.step(frames, arenas[1].state, slots, keep)
        inside = (y.place.index >= 0) & (y.place.index < 9)
        torch.testing.assert_close(y.data[inside], expected.data[inside], rtol=1e-5, atol=1e-5)
        if not module.cells:  # a scale may differ in its last bit
            assert torch.equal(arenas[0].buffer, arenas[1].buffer)
        start = start + (keep or count)
