"""Ring attention at the sizes of the 114 M FastConformer, of Whisper large and of Qwen2 0.5 B."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.kernels.case import Call, Case
from speech.kernels.eight_bits import DTYPES, quantised
from speech.kernels.ring_attention import Cells, Table, Window, ring_attention, ring_attention_reference

BATCHES = (1, 16, 64, 256, 512)

HALF = 66
"""Of the multiprocessors of a large card: with no more rings than these each is split, which takes a launch more."""


@dataclass(frozen=True)
class Size:
    """heads that share kv_heads keys of e channels; t new frames see `left` old ones; positions or not; cells' kind."""

    heads: int
    kv_heads: int
    left: int
    t: int
    e: int = 64
    tabled: bool = False
    cells: str = ""


SIZES = {
    "FastConformer": Size(8, 8, 70, 2, tabled=True),
    "FastConformer int8": Size(8, 8, 70, 2, tabled=True, cells="int8"),
    "FastConformer fp8": Size(8, 8, 70, 2, tabled=True, cells="fp8"),
    "Whisper": Size(20, 20, 1500, 8),
    "Qwen2": Size(14, 2, 1024, 1),
}


def cases() -> Iterator[Case]:
    """Every size at every batch."""
    for b in BATCHES:
        for name, size in SIZES.items():
            n = size.left + size.t
            cells = size.kv_heads * n * (size.e + 4 if size.cells else 2 * size.e)  # a float32 scale is four bytes
            chunk = 2 * size.t * size.e * (size.heads + size.kv_heads)  # queries, keys, values, what is attended
            flops = 2 * b * size.heads * size.t * n * size.e * (3 if size.tabled else 2)
            waits = 1 + size.tabled + (b * size.kv_heads <= HALF)
            make_one = partial(make, b, size)
            yield Case(f"ring attention, {name}, B {b}", make_one, b * 2 * (cells + chunk), flops, waits=waits)


def make(b: int, size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """The ring has room for the chunk besides what is seen, so that a call which comes again finds what it found."""
    torch.manual_seed(0)
    window = Window(size.left, size.t)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device).to(dtype)

    q = random(b, size.t, size.heads, size.e).transpose(1, 2)
    k, v = random(2, b, size.t, size.kv_heads, size.e).transpose(2, 3)
    ring = Cells(*random(2, b, size.kv_heads, size.left + size.t, size.e))
    if size.cells:
        (k_code, k_scale), (v_code, v_scale) = (quantised(x, DTYPES[size.cells]) for x in (ring.k, ring.v))
        ring = Cells(k_code, v_code, torch.stack([k_scale, v_scale], -1))
    table = None
    if size.tabled:
        high = size.left + size.t - 1
        u, v_bias = random(2, size.heads, size.e)
        table = Table(random(size.heads, high + size.t, size.e), u, v_bias, high)
    slots = torch.randperm(b, device=device)
    start = torch.full_like(slots, 100 * size.left // size.t * size.t)
    stop = start + (1 << 30)
    other = Cells(ring.k.clone(), ring.v.clone(), None if ring.scale is None else ring.scale.clone())
    return (
        partial(ring_attention, q, k, v, ring, slots, start, stop, window, table=table),
        partial(ring_attention_reference, q, k, v, other, slots, start, stop, window, table=table),
    )
