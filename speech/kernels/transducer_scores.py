"""From the scores of tokens to the transitions of a transducer's lattice, and from its gradient to theirs.

The log-softmax lies between the two: neither function keeps a normalised copy of the scores, [b, t, u + 1, v].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.kernels.backend import jit, launches, tl, triton
from speech.kernels.transducer_lattice import IMPOSSIBLE, Passes

__all__ = ["Transitions", "scores_gradient", "scores_gradient_reference", "transitions", "transitions_reference"]

CELLS, TOKENS = 16, 128  # of the tile that a program works on


class Transitions(NamedTuple):
    """Log-probabilities of each cell's blank and label, and the log-sum-exp of its scores: [b, t, u + 1].

    float32, or float64 for float64 scores. The last column has no label: -inf.
    """

    blank: Tensor
    label: Tensor
    norm: Tensor


def transitions(scores: Tensor, tokens: Tensor, blank: int) -> Transitions:
    """The log-softmax of the scores, where it is needed. scores: [b, t, u + 1, v]; tokens: [b, u] int64."""
    if not launches(scores):
        return transitions_reference(scores, tokens, blank)
    _, t, width, v = scores.shape
    wide = torch.promote_types(scores.dtype, torch.float32)
    out = Transitions(*(scores.new_empty(scores.shape[:3], dtype=wide) for _ in range(3)))
    grid = (triton.cdiv(out.norm.numel(), CELLS),)
    _transitions_kernel[grid](
        scores.contiguous(), tokens.contiguous(), *out, out.norm.numel(), t, width, blank, v, CELLS, TOKENS
    )
    return out


def scores_gradient(
    scores: Tensor, norm: Tensor, passes: Passes, tokens: Tensor, blank: int, *, in_place: bool = False
) -> Tensor:
    """Gradient of the negative log-likelihood with respect to the scores, [b, t, u + 1, v] in their dtype.

    softmax(scores) * (passes.blank + passes.label) less passes.blank at the blank and passes.label at the label
    (Graves 2012, equation 20, taken through the softmax). norm: log-sum-exp of the scores, [b, t, u + 1]; tokens:
    [b, u] int64. in_place: over the memory of the scores, which must be contiguous then.
    """
    if not launches(scores):
        return scores_gradient_reference(scores, norm, passes, tokens, blank, in_place=in_place)
    _, t, width, v = scores.shape
    scores = scores.contiguous()
    out = scores if in_place else torch.empty_like(scores)
    passing = (x.contiguous() for x in passes)
    _gradient_kernel[triton.cdiv(norm.numel(), CELLS), triton.cdiv(v, TOKENS)](
        scores, norm.contiguous(), *passing, tokens.contiguous(), out, norm.numel(), t, width, blank, v, CELLS, TOKENS
    )
    return out


@jit
def _transitions_kernel(
    scores,
    tokens,
    log_blank,
    log_label,
    norm,
    cells,
    t,
    width,
    blank,
    v: tl.constexpr,
    CELLS: tl.constexpr,
    TOKENS: tl.constexpr,
):
    """Some cells: their scores are read once, under a running maximum."""
    cell = tl.program_id(0).to(tl.int64) * CELLS + tl.arange(0, CELLS)
    here, u, item = cell < cells, cell % width, cell // width // t
    wide = norm.dtype.element_ty
    top, total = tl.full((CELLS,), float("-inf"), wide), tl.zeros((CELLS,), wide)
    for begin in range(0, v, TOKENS):
        token = begin + tl.arange(0, TOKENS)
        mask = here[:, None] & (token < v)[None, :]
        score = tl.load(scores + cell[:, None] * v + token[None, :], mask=mask, other=float("-inf")).to(wide)
        higher = tl.maximum(top, tl.max(score, 1))
        base = tl.where(higher == float("-inf"), 0.0, higher)  # nothing seen yet, or no cell at all
        total = total * tl.exp(top - base) + tl.sum(tl.exp(score - base[:, None]), 1)
        top = higher
    log_total = tl.where(here, top, 0.0) + tl.log(tl.where(here, total, 1.0))
    spoken = here & (u < width - 1)
    label = tl.load(tokens + item * (width - 1) + u, mask=spoken, other=0)
    label = tl.load(scores + cell * v + label, mask=spoken, other=float("-inf")).to(wide)
    tl.store(norm + cell, log_total, mask=here)
    tl.store(log_label + cell, label - log_total, mask=here)
    tl.store(log_blank + cell, tl.load(scores + cell * v + blank, mask=here, other=0.0).to(wide) - log_total, mask=here)


@jit
def _gradient_kernel(
    scores,
    norm,
    through_blank,
    through_label,
    tokens,
    out,
    cells,
    t,
    width,
    blank,
    v,
    CELLS: tl.constexpr,
    TOKENS: tl.constexpr,
):
    """Some cells by some tokens; every score is read where its gradient is written."""
    cell = tl.program_id(0).to(tl.int64) * CELLS + tl.arange(0, CELLS)
    token = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    here, u, item = cell < cells, cell % width, cell // width // t
    blanks = tl.load(through_blank + cell, mask=here, other=0.0)
    labels = tl.load(through_label + cell, mask=here, other=0.0)
    label = tl.load(tokens + item * (width - 1) + u, mask=here & (u < width - 1), other=-1)
    total = tl.load(norm + cell, mask=here, other=0.0)
    where, mask = cell[:, None] * v + token[None, :], here[:, None] & (token < v)[None, :]
    score = tl.load(scores + where, mask=mask, other=0.0).to(total.dtype)
    grad = tl.exp(score - total[:, None]) * (blanks + labels)[:, None]
    grad -= tl.where((token == blank)[None, :], blanks[:, None], 0.0)
    grad -= tl.where(token[None, :] == label[:, None], labels[:, None], 0.0)
    tl.store(out + where, grad, mask=mask)


def transitions_reference(scores: Tensor, tokens: Tensor, blank: int) -> Transitions:
    """The same in PyTorch, item by item: a wide copy of all scores would be the largest tensor of a training step."""
    wide = torch.promote_types(scores.dtype, torch.float32)
    norm = torch.stack([item.to(wide).logsumexp(-1) for item in scores])
    label = scores.gather(3, _labels(scores, tokens)).squeeze(3) - norm
    label[..., -1] = IMPOSSIBLE
    return Transitions(scores[..., blank] - norm, label, norm)


def scores_gradient_reference(
    scores: Tensor, norm: Tensor, passes: Passes, tokens: Tensor, blank: int, *, in_place: bool = False
) -> Tensor:
    """The same in PyTorch, item by item."""
    out, labels = scores if in_place else torch.empty_like(scores), _labels(scores, tokens)
    for item, index, through_blank, through_label, total, into in zip(scores, labels, *passes, norm, out, strict=True):
        grad = (item.to(norm.dtype) - total[..., None]).exp_().mul_((through_blank + through_label)[..., None])
        grad[..., blank] -= through_blank
        grad.scatter_add_(2, index, -through_label[..., None])
        into.copy_(grad)
    return out


def _labels(scores: Tensor, tokens: Tensor) -> Tensor:
    """The label of every cell, [b, t, u + 1, 1]; in the last column, which has none, any."""
    return pad(tokens, (0, 1))[:, None, :, None].expand(-1, scores.shape[1], -1, 1)
