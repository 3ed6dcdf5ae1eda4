"""The transducer (RNN-T) loss with a gradient written by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def transducer_loss(
    scores: Tensor,
    targets: Tensor,
    frame_lengths: Tensor,
    target_lengths: Tensor,
    blank: int,
    fastemit: float = 0.0,
) -> Tensor:
    """Negative log-likelihood of every target sequence, summed over its alignments (Graves 2012, arXiv 1211.3711).

    The log-softmax is part of the loss: the gradient is with respect to `scores`, and no normalised copy of them is
    ever kept. Forward and backward variables run over anti-diagonals t + u, all rows and labels at once.

    scores: [b, t, u + 1, v] joint outputs; 16-bit ones are summed in float32. targets: [b, u] int64, padding is any
    valid id. frame_lengths, target_lengths: [b], at least one frame. fastemit: weight of the label transitions' extra
    gradient (Yu et al. 2021, arXiv 2010.11148); the loss is reported (1 + fastemit) times, as others do.
    Returns [b] in float32 (float64 for float64 scores). Raises ValueError for shapes that do not fit.
    """
    b, _, u = scores.shape[:3]
    if targets.shape != (b, u - 1) or frame_lengths.shape != (b,) or target_lengths.shape != (b,):
        raise ValueError(
            f"expected targets [{b}, {u - 1}] and lengths [{b}] for scores {[*scores.shape]}, got targets"
            f" {[*targets.shape]} and lengths {[*frame_lengths.shape]}, {[*target_lengths.shape]}"
        )
    return _TransducerLoss.apply(scores, targets, frame_lengths, target_lengths, blank, fastemit)  # type: ignore[return-value]


class _TransducerLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, targets: Tensor, frames: Tensor, labels: Tensor, blank: int, fastemit: float
    ) -> Tensor:
        wide = torch.promote_types(scores.dtype, torch.float32)
        # one row at a time: a wide copy of all scores would be the largest tensor of the whole training step
        norm = torch.stack([row.to(wide).logsumexp(-1) for row in scores])
        emit = scores[..., :-1, :].gather(3, targets[:, None, :, None].expand(-1, scores.shape[1], -1, 1))[..., 0]
        log_blank, log_emit = _masked(scores[..., blank] - norm, emit - norm[..., :-1], frames, labels)
        alpha = _forward_variables(log_blank, log_emit)
        row = torch.arange(len(scores), device=scores.device)
        log_likelihood = alpha[row, frames - 1, labels] + log_blank[row, frames - 1, labels]
        ctx.save_for_backward(scores, targets, frames, labels, norm, log_blank, log_emit, alpha, log_likelihood)
        ctx.blank, ctx.fastemit = blank, fastemit
        return -(1 + fastemit) * log_likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        scores, targets, frames, labels, norm, log_blank, log_emit, alpha, log_likelihood = ctx.saved_tensors
        beta = _backward_variables(log_blank, log_emit, frames, labels)
        past = alpha - log_likelihood[:, None, None]
        through_blank = (past + log_blank + beta[:, 1:, :-1]).exp() * weight[:, None, None]
        through_label = (past[..., :-1] + log_emit + beta[:, :-1, 1:-1]).exp() * (weight * (1 + ctx.fastemit))[
            :, None, None
        ]
        passing = through_blank.clone()
        passing[..., :-1] += through_label
        grad = torch.empty_like(scores)
        for i in range(len(scores)):
            row = (scores[i].to(norm.dtype) - norm[i, ..., None]).exp_().mul_(passing[i, ..., None])
            row[..., ctx.blank] -= through_blank[i]
            index = targets[i, None, :, None].expand(row.shape[0], -1, 1)
            row[:, :-1].scatter_add_(2, index, -through_label[i, ..., None])
            grad[i] = row
        return grad, None, None, None, None, None


def _masked(log_blank: Tensor, log_emit: Tensor, frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Transitions that start outside an item's own lattice become impossible. [b, t, u + 1], [b, t, u]."""
    t = torch.arange(log_blank.shape[1], device=frames.device)[None, :, None]
    u = torch.arange(log_blank.shape[2], device=frames.device)[None, None, :]
    late, done = t >= frames[:, None, None], u - labels[:, None, None]
    infinity = float("inf")
    return log_blank.masked_fill(late | (done > 0), -infinity), log_emit.masked_fill(
        late | (done >= 0)[..., :-1], -infinity
    )


def _skew(x: Tensor) -> Tensor:
    """Column u moves down by u: anti-diagonals become rows. [b, t, u] -> [t + u - 1, b, u], filled with -inf."""
    b, t, u = x.shape
    wide = torch.nn.functional.pad(x.transpose(1, 2), (0, u), value=float("-inf"))
    return wide.flatten(1)[:, : u * (t + u - 1)].view(b, u, t + u - 1).permute(2, 0, 1).contiguous()


def _unskew(x: Tensor, t: int) -> Tensor:
    """The inverse of `_skew`. [t + u - 1, b, u] -> [b, t, u]."""
    n, b, u = x.shape
    flat = torch.nn.functional.pad(x.permute(1, 2, 0).reshape(b, u * n), (0, u))
    return flat.view(b, u, n + 1)[..., :t].transpose(1, 2)


def _forward_variables(log_blank: Tensor, log_emit: Tensor) -> Tensor:
    """alpha[t, u] = logaddexp(alpha[t-1, u] + blank[t-1, u], alpha[t, u-1] + emit[t, u-1]). -> [b, t, u + 1]."""
    down = _skew(log_blank)
    right = _skew(torch.nn.functional.pad(log_emit, (0, 1), value=float("-inf")))
    alpha = torch.full_like(down, float("-inf"))
    alpha[0, :, 0] = 0
    for n in range(1, len(alpha)):
        alpha[n] = alpha[n - 1] + down[n - 1]
        alpha[n, :, 1:] = torch.logaddexp(alpha[n, :, 1:], alpha[n - 1, :, :-1] + right[n - 1, :, :-1])
    return _unskew(alpha, log_blank.shape[1])


def _backward_variables(log_blank: Tensor, log_emit: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
    """beta[t, u] = logaddexp(blank[t, u] + beta[t+1, u], emit[t, u] + beta[t, u+1]). -> [b, t + 1, u + 2].

    The lattice has one more row and column of impossible cells; the cell an item ends in, after its last blank, is
    (frames, labels) and has probability one.
    """
    impossible = float("-inf")
    down = _skew(torch.nn.functional.pad(log_blank, (0, 1, 0, 1), value=impossible))
    right = _skew(torch.nn.functional.pad(log_emit, (0, 2, 0, 1), value=impossible))
    beta = torch.full_like(down, impossible)
    row = torch.arange(len(frames), device=frames.device)
    end = torch.zeros_like(beta, dtype=torch.bool)
    end[frames + labels, row, labels] = True
    for n in range(len(beta) - 1, -1, -1):
        if n + 1 < len(beta):
            beta[n] = beta[n + 1] + down[n]
            beta[n, :, :-1] = torch.logaddexp(beta[n, :, :-1], beta[n + 1, :, 1:] + right[n, :, :-1])
        beta[n].masked_fill_(end[n], 0)
    return _unskew(beta, log_blank.shape[1] + 1)


def transducer_loss_reference(
    scores: Tensor, targets: Tensor, frame_lengths: Tensor, target_lengths: Tensor, blank: int
) -> Tensor:
    """The same loss cell by cell in float64, differentiated by autograd: slow and plain.

    Shapes as for `transducer_loss`; returns [b].
    """
    log_p = scores.double().log_softmax(-1)
    losses = []
    for b in range(len(scores)):
        t_end, u_end = int(frame_lengths[b]), int(target_lengths[b])
        alpha: dict[tuple[int, int], Tensor] = {(0, 0): log_p.new_zeros(())}
        for t in range(t_end):
            for u in range(u_end + 1):
                ways = []
                if t:
                    ways.append(alpha[t - 1, u] + log_p[b, t - 1, u, blank])
                if u:
                    ways.append(alpha[t, u - 1] + log_p[b, t, u - 1, targets[b, u - 1]])
                if ways:
                    alpha[t, u] = torch.stack(ways).logsumexp(0)
        losses.append(-alpha[t_end - 1, u_end] - log_p[b, t_end - 1, u_end, blank])
    return torch.stack(losses)
