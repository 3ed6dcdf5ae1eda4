"""The lattice of a transducer: probabilities of all its transitions to those of its alignments (Graves 2012).

Cell (t, u) means: t frames are left behind, u labels were emitted. A blank leads to (t + 1, u), a label to (t, u + 1).
An item of T frames and U labels starts in (0, 0) and ends behind the blank of (T - 1, U). Log-probabilities of both,
log_blank and log_label, are [b, t, u + 1], float32 or float64; those outside an item's own lattice are not looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.kernels.backend import jit, launches, tl, triton

__all__ = [
    "Passes",
    "backward_passes",
    "backward_passes_reference",
    "forward_variables",
    "forward_variables_reference",
]

IMPOSSIBLE = float("-inf")


class Passes(NamedTuple):
    """How likely an alignment passes through the blank, and the label, of a cell: [b, t, u + 1], times a weight."""

    blank: Tensor
    label: Tensor


def forward_variables(log_blank: Tensor, log_label: Tensor, frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of reaching each cell, [b, t, u + 1], and of each item's labels, [b].

    frames, labels: [b] int64. Cells outside an item's lattice hold anything.
    """
    given = log_blank, log_label, frames, labels
    if not launches(log_blank):
        return forward_variables_reference(*given)
    b, t, width = log_blank.shape
    alpha, likelihood = log_blank.new_empty(b, t, width), log_blank.new_empty(b)
    packed = (x.contiguous() for x in given)
    _forward_kernel[(b,)](*packed, alpha, likelihood, t, width, WIDTH=triton.next_power_of_2(width))
    return alpha, likelihood


def backward_passes(
    log_blank: Tensor,
    log_label: Tensor,
    alpha: Tensor,
    likelihood: Tensor,
    frames: Tensor,
    labels: Tensor,
    weight: Tensor,
    label_weight: Tensor,
) -> Passes:
    """How likely the alignments of an item pass through each transition, from what `forward_variables` returned.

    weight, label_weight: [b], what blanks and labels are multiplied by.
    """
    given = log_blank, log_label, alpha, likelihood, frames, labels, weight, label_weight
    if not launches(log_blank):
        return backward_passes_reference(*given)
    b, t, width = log_blank.shape
    out = Passes(log_blank.new_zeros(b, t, width), log_blank.new_zeros(b, t, width))
    packed = (x.contiguous() for x in given)  # the derivative of a sum is one number, expanded
    _backward_kernel[(b,)](*packed, *out, t, width, WIDTH=triton.next_power_of_2(width))
    return out


@jit
def _log_add(x, y):
    """log(exp(x) + exp(y)), also of impossible ones."""
    high = tl.maximum(x, y)
    never = high == float("-inf")
    base = tl.where(never, 0.0, high)
    return high + tl.log(tl.where(never, 1.0, tl.exp(x - base) + tl.exp(y - base)))


@jit
def _forward_kernel(log_blank, log_label, frames, labels, alpha, likelihood, t, width, WIDTH: tl.constexpr):
    """One item, an anti-diagonal t + u after the other, a label a lane: the diagonal before is still in registers."""
    row = tl.program_id(0).to(tl.int64)
    count, spoken = tl.load(frames + row), tl.load(labels + row)
    u = tl.arange(0, WIDTH)
    here = tl.where(u == 0, 0.0, float("-inf")).to(alpha.dtype.element_ty)
    diagonal = spoken * 0
    while diagonal < count + spoken:
        frame = diagonal - u
        inside = (frame >= 0) & (frame < count) & (u <= spoken)
        cell = (row * t + frame) * width + u
        tl.store(alpha + cell, here, mask=inside)
        blank = here + tl.load(log_blank + cell, mask=inside, other=float("-inf"))
        label = here + tl.load(log_label + cell, mask=inside, other=float("-inf"))
        label = tl.where(u == 0, float("-inf"), tl.gather(label, tl.maximum(u - 1, 0), 0))
        here = _log_add(blank, label)
        diagonal += 1
    tl.store(likelihood + row, tl.sum(tl.where(u == spoken, here, 0.0), 0))


@jit
def _backward_kernel(
    log_blank,
    log_label,
    alpha,
    likelihood,
    frames,
    labels,
    weight,
    label_weight,
    through_blank,
    through_label,
    t,
    width,
    WIDTH: tl.constexpr,
):
    """One item, from its end: backward variables stay in registers, what passes through a transition is written."""
    row = tl.program_id(0).to(tl.int64)
    count, spoken = tl.load(frames + row), tl.load(labels + row)
    all_of_it, blanks, spelt = tl.load(likelihood + row), tl.load(weight + row), tl.load(label_weight + row)
    u = tl.arange(0, WIDTH)
    below = tl.where(u == spoken, 0.0, float("-inf")).to(alpha.dtype.element_ty)
    diagonal = count + spoken - 1
    while diagonal >= 0:
        frame = diagonal - u
        inside = (frame >= 0) & (frame < count) & (u <= spoken)
        cell = (row * t + frame) * width + u
        past = tl.load(alpha + cell, mask=inside, other=float("-inf")) - all_of_it
        beside = tl.gather(below, tl.minimum(u + 1, WIDTH - 1), 0)
        blank = tl.load(log_blank + cell, mask=inside, other=float("-inf")) + below
        label = tl.load(log_label + cell, mask=inside & (u < spoken), other=float("-inf")) + beside
        tl.store(through_blank + cell, tl.exp(past + blank) * blanks, mask=inside)
        tl.store(through_label + cell, tl.exp(past + label) * spelt, mask=inside)
        below = _log_add(blank, label)
        diagonal -= 1


def forward_variables_reference(
    log_blank: Tensor, log_label: Tensor, frames: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """alpha[t, u] = logaddexp(alpha[t-1, u] + blank[t-1, u], alpha[t, u-1] + label[t, u-1]), all items at once."""
    log_blank, log_label = _masked(log_blank, log_label, frames, labels)
    down, right = _skew(log_blank), _skew(log_label)
    alpha = torch.full_like(down, IMPOSSIBLE)
    alpha[0, :, 0] = 0
    for k in range(1, len(alpha)):
        alpha[k] = alpha[k - 1] + down[k - 1]
        alpha[k, :, 1:] = torch.logaddexp(alpha[k, :, 1:], alpha[k - 1, :, :-1] + right[k - 1, :, :-1])
    out, row = _unskew(alpha, log_blank.shape[1]), torch.arange(len(frames), device=frames.device)
    return out, out[row, frames - 1, labels] + log_blank[row, frames - 1, labels]


def backward_passes_reference(
    log_blank: Tensor,
    log_label: Tensor,
    alpha: Tensor,
    likelihood: Tensor,
    frames: Tensor,
    labels: Tensor,
    weight: Tensor,
    label_weight: Tensor,
) -> Passes:
    """beta[t, u] = logaddexp(blank[t, u] + beta[t+1, u], label[t, u] + beta[t, u+1]), all items at once.

    The lattice has one more row and column of impossible cells; the cell an item ends in, (frames, labels), is certain.
    """
    log_blank, log_label = _masked(log_blank, log_label, frames, labels)
    down, right = (_skew(pad(x, (0, 1, 0, 1), value=IMPOSSIBLE)) for x in (log_blank, log_label))
    beta = torch.full_like(down, IMPOSSIBLE)
    n, _, u = (torch.arange(size, device=frames.device) for size in beta.shape)
    end = (n[:, None, None] == (frames + labels)[:, None]) & (u == labels[:, None])
    for k in range(len(beta) - 1, -1, -1):
        if k + 1 < len(beta):
            beta[k] = beta[k + 1] + down[k]
            beta[k, :, :-1] = torch.logaddexp(beta[k, :, :-1], beta[k + 1, :, 1:] + right[k, :, :-1])
        beta[k].masked_fill_(end[k], 0)
    after, past = _unskew(beta, log_blank.shape[1] + 1), alpha - likelihood[:, None, None]
    return Passes(
        (past + log_blank + after[:, 1:, :-1]).exp() * weight[:, None, None],
        (past + log_label + after[:, :-1, 1:]).exp() * label_weight[:, None, None],
    )


def _masked(log_blank: Tensor, log_label: Tensor, frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Both [b, t, u + 1], with transitions that start outside an item's own lattice, or leave it, impossible."""
    t = torch.arange(log_blank.shape[1], device=frames.device)[None, :, None]
    u = torch.arange(log_blank.shape[2], device=frames.device)[None, None, :]
    late, spoken = t >= frames[:, None, None], labels[:, None, None]
    return log_blank.masked_fill(late | (u > spoken), IMPOSSIBLE), log_label.masked_fill(
        late | (u >= spoken), IMPOSSIBLE
    )


def _skew(x: Tensor) -> Tensor:
    """Column u moves down by u: anti-diagonals become rows. [b, t, u] -> [t + u - 1, b, u], filled with -inf."""
    b, t, u = x.shape
    wide = pad(x.transpose(1, 2), (0, u), value=IMPOSSIBLE)
    return wide.flatten(1)[:, : u * (t + u - 1)].view(b, u, t + u - 1).permute(2, 0, 1).contiguous()


def _unskew(x: Tensor, t: int) -> Tensor:
    """The inverse of `_skew`. [t + u - 1, b, u] -> [b, t, u]."""
    n, b, u = x.shape
    flat = pad(x.permute(1, 2, 0).reshape(b, u * n), (0, u))
    return flat.view(b, u, n + 1)[..., :t].transpose(1, 2)
