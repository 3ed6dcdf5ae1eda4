"""Greedy transducer decoding of the 114 M FastConformer in chunks of 160 ms, as many turns as are launched at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.kernels.case import Call, Case
from speech.kernels.transducer_greedy import (
    Cell,
    Rules,
    Search,
    Weights,
    transducer_greedy,
    transducer_greedy_reference,
)

FRAMES, DIM, TOKENS = 2, 640, 1025
TURNS = FRAMES + 2
RULES = Rules(window=FRAMES)


def cases() -> Iterator[Case]:
    """One case a batch size. Least work: every weight once, and for a row one token and two looks at all frames."""
    weights = 8 * DIM * DIM + DIM * DIM + TOKENS * DIM
    for b in (1, 16, 64, 256, 512):
        numbers = weights + b * (FRAMES + 6) * DIM  # frames; h, c and what the joint network sees of them, twice
        flops = 2 * b * (2 * FRAMES * DIM * TOKENS + 9 * DIM * DIM)
        yield Case(f"transducer greedy, B {b}", partial(calls, b), 2 * numbers, flops, waits=13 + 8 * TURNS)


def calls(b: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """Rows in the middle of a stream. Every frame is near one token's weights, so that rounding cannot choose."""
    torch.manual_seed(0)

    def draw(*shape: int, scale: float = 0.02) -> Tensor:
        return (torch.randn(shape) * scale).to(device, dtype)

    cell = Cell(draw(4 * DIM, DIM), draw(4 * DIM, DIM), draw(4 * DIM))
    weights = Weights(draw(TOKENS, DIM), (cell,), draw(DIM, DIM), draw(DIM), draw(TOKENS, DIM, scale=1.0), draw(TOKENS))
    said = torch.randint(TOKENS, (b, FRAMES)).where(torch.rand(b, FRAMES) < 0.3, TOKENS - 1)
    acoustic = 2 * weights.out[said.to(device)]
    start, last = (torch.full((b,), index, device=device) for index in (10, 9))
    h, c, predicted = draw(b, 1, DIM), draw(b, 1, DIM), draw(b, DIM)

    def decode(op: Callable[[Tensor, Weights, Search, Rules], None]) -> tuple[Tensor, ...]:
        rows = (x.clone() for x in (last, h, c, predicted))
        search = Search.of(start, start + FRAMES, FRAMES, *rows, turns=TURNS)
        op(acoustic, weights, search, RULES)
        return search.count, search.last, search.h, search.predicted

    return partial(decode, transducer_greedy), partial(decode, transducer_greedy_reference)
