"""Greedy transducer decoding of a batch in a fixed number of launches, which a CUDA graph can hold.

Label looping (Xu et al. 2024, arXiv 2406.06220) with everything masked: in a turn every row looks at its next frames
under its present prediction state, and either emits the first token found there or moves past them. Nothing is asked of
the device between turns. How many turns the rows of a chunk need is not known beforehand; whoever reads the tokens sees
whether any row is unfinished and may call again.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from speech.kernels.backend import infers
from speech.kernels.transducer_search import Cell, Rules, Search, Weights
from speech.kernels.transducer_turn import advance_cells, look

__all__ = ["Cell", "Rules", "Search", "Weights", "transducer_greedy", "transducer_greedy_reference"]


@torch.no_grad()
def transducer_greedy(acoustic: Tensor, weights: Weights, search: Search, rules: Rules) -> None:
    """Run as many turns of `search` as its buffer of tokens has columns; a turn emits at most one token a row.

    acoustic: [b, t, j] encoder frames projected into the joint network, contiguous, in the dtype of the weights.
    Rows with `search.at < search.end` are unfinished: read the tokens and call again. Raises ValueError for a Search
    whose h, c and predicted are not contiguous.
    """
    if not infers(acoustic, weights.out, search.h):
        return transducer_greedy_reference(acoustic, weights, search, rules)
    if not (search.h.is_contiguous() and search.c.is_contiguous() and search.predicted.is_contiguous()):
        raise ValueError("expected contiguous h, c and predicted in the search, got views with gaps: copy the rows")
    search.count.zero_()
    fed, moves = torch.empty_like(search.at), torch.zeros_like(search.at, dtype=torch.bool)
    for _ in range(search.tokens.shape[1]):
        look(acoustic, weights, search, rules, fed, moves)
        x = weights.embedding.index_select(0, fed)
        for layer, cell in enumerate(weights.cells):
            h, c = search.h[:, layer], search.c[:, layer]
            gates = torch.addmm(cell.bias, x, cell.input.t()).addmm_(h, cell.recurrent.t())
            advance_cells(gates, moves, h, c)
            x = h
        _project(weights, search, x, moves)


@torch.no_grad()
def transducer_greedy_reference(acoustic: Tensor, weights: Weights, search: Search, rules: Rules) -> None:
    """The same by PyTorch's own operations."""
    search.count.zero_()
    for _ in range(search.tokens.shape[1]):
        fed, moves = _look_reference(acoustic, weights, search, rules)
        x = weights.embedding[fed]
        for layer, cell in enumerate(weights.cells):
            h, c = search.h[:, layer], search.c[:, layer]
            i, f, g, o = (linear(x, cell.input, cell.bias) + linear(h, cell.recurrent)).chunk(4, -1)
            new = f.sigmoid() * c + i.sigmoid() * g.tanh()
            c.copy_(torch.where(moves[:, None], new, c))
            h.copy_(torch.where(moves[:, None], o.sigmoid() * new.tanh(), h))
            x = h
        _project(weights, search, x, moves)


def _look_reference(acoustic: Tensor, weights: Weights, s: Search, rules: Rules) -> tuple[Tensor, Tensor]:
    """Up to the prediction network: which token every row feeds it, [b], and whether the row does so at all, [b]."""
    blank, rows = len(weights.out) - 1, torch.arange(len(acoustic), device=acoustic.device)
    live = s.at < s.end
    forget = s.end if rules.restart is None else torch.where(s.last > 0, s.last + rules.restart - s.start, s.end)
    stale = live & ((s.last == 0) | (s.at >= forget))
    limit = torch.minimum(s.end, forget)

    ahead = s.at[:, None] + torch.arange(rules.window, device=acoustic.device)
    seen = acoustic[rows[:, None], ahead.clamp(max=acoustic.shape[1] - 1)]
    score = linear(torch.relu(seen + s.predicted[:, None]), weights.out, weights.out_bias).float()
    best, token = score.max(-1)
    found, step = ((token != blank) & (ahead < limit[:, None])).max(1)
    emits, passes = live & ~stale & found, live & ~stale & ~found
    said = token[rows, step]
    frame = s.at + step

    column = s.count.clamp(max=s.tokens.shape[1] - 1)
    logprob = (best - score.logsumexp(-1))[rows, step].double()
    for kept, new in ((s.tokens, said), (s.frames, s.start + frame), (s.logprobs, logprob)):
        kept[rows, column] = torch.where(emits, new, kept[rows, column])
    s.count.add_(emits)

    burst = torch.where(step == 0, s.burst, 0) + 1
    full = emits & (burst == rules.max_symbols)
    s.burst.copy_(torch.where(emits & ~full, burst, torch.where(stale, s.burst, 0)))
    s.last.copy_(torch.where(emits, s.start + frame + 1, torch.where(stale, -1, s.last)))
    passed = torch.minimum(s.at + rules.window, limit)
    s.at.copy_(torch.where(emits, frame + full, torch.where(passes, passed, s.at)))
    for state in (s.h, s.c):
        state.masked_fill_(stale[:, None, None], 0)
    return torch.where(emits, said, blank), emits | stale


def _project(weights: Weights, search: Search, x: Tensor, moves: Tensor) -> None:
    """Keep the projected output of the prediction network for the rows that ran it. x: [b, d]; moves: [b]."""
    new = linear(x, weights.predicted, weights.predicted_bias)
    torch.where(moves[:, None], new, search.predicted, out=search.predicted)
