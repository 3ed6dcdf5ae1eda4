"""The transducer (RNN-T) loss, gradient written by hand: of scores, or of what a joint network makes them from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from speech.kernels.transducer_lattice import Passes, backward_passes, forward_variables
from speech.kernels.transducer_scores import Transitions, scores_gradient, transitions

__all__ = ["joint_transducer_loss", "transducer_loss", "transducer_loss_reference"]


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
    _check(f"scores {[*scores.shape]}", scores.shape[0], scores.shape[2], targets, frame_lengths, target_lengths)
    return _TransducerLoss.apply(scores, targets, frame_lengths, target_lengths, blank, fastemit)  # type: ignore[return-value]


def joint_transducer_loss(
    acoustic: Tensor,
    predicted: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    frame_lengths: Tensor,
    target_lengths: Tensor,
    blank: int,
    fastemit: float = 0.0,
    *,
    dropout: float = 0.0,
    cells: int = 8192,
) -> Tensor:
    """`transducer_loss` of the scores dropout(relu(acoustic[:, :, None] + predicted[:, None])) @ weight.T + bias.

    They and their gradient, [b, t, u + 1, v], never exist: scores are made for about `cells` pairs of a frame and a
    label at a time, and once more when their gradient is due, which takes their place and is at once multiplied into
    the gradients of the arguments. That is one more matrix product of three, for memory that no longer grows with the
    batch.

    acoustic: [b, t, j]; predicted: [b, u + 1, j]; both projected into the joint network, whose dtype is `acoustic`'s.
    weight: [v, j]; bias: [v]. dropout: the share of hidden units that are dropped, drawn from PyTorch's generator for
    the CPU. The rest, the result and the errors are as for `transducer_loss`.
    """
    shapes = f"{[*acoustic.shape]} frames and {[*predicted.shape]} predictions"
    _check(shapes, len(acoustic), predicted.shape[1], targets, frame_lengths, target_lengths)
    given = targets, frame_lengths, target_lengths, blank, fastemit, dropout, cells
    return _JointTransducerLoss.apply(acoustic, predicted, weight, bias, *given)  # type: ignore[return-value]


def _check(of: str, b: int, width: int, targets: Tensor, frame_lengths: Tensor, target_lengths: Tensor) -> None:
    if targets.shape != (b, width - 1) or frame_lengths.shape != (b,) or target_lengths.shape != (b,):
        raise ValueError(
            f"expected targets [{b}, {width - 1}] and lengths [{b}] for {of}, got targets"
            f" {[*targets.shape]} and lengths {[*frame_lengths.shape]}, {[*target_lengths.shape]}"
        )


class _TransducerLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, targets: Tensor, frames: Tensor, labels: Tensor, blank: int, fastemit: float
    ) -> Tensor:
        found = transitions(scores, targets, blank)
        alpha, likelihood = forward_variables(found.blank, found.label, frames, labels)
        ctx.save_for_backward(scores, targets, frames, labels, *found, alpha, likelihood)
        ctx.blank, ctx.fastemit = blank, fastemit
        return -(1 + fastemit) * likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        scores, targets, frames, labels, log_blank, log_label, norm, alpha, likelihood = ctx.saved_tensors
        lattice = log_blank, log_label, alpha, likelihood, frames, labels
        passes = backward_passes(*lattice, weight, weight * (1 + ctx.fastemit))
        return scores_gradient(scores, norm, passes, targets, ctx.blank), None, None, None, None, None


class _JointTransducerLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        acoustic: Tensor,
        predicted: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        frames: Tensor,
        labels: Tensor,
        blank: int,
        fastemit: float,
        dropout: float,
        cells: int,
    ) -> Tensor:
        (b, t, _), width = acoustic.shape, predicted.shape[1]
        seed = int(torch.randint(1 << 62, ())) if dropout else 0  # backward drops the same units
        wide = torch.promote_types(acoustic.dtype, torch.float32)
        found = Transitions(*(acoustic.new_empty((b, t, width), dtype=wide) for _ in range(3)))
        draw = torch.Generator(acoustic.device).manual_seed(seed)
        for items, span in _blocks(b, t, width, cells):
            _, scores = _joint(acoustic[items, span], predicted[items], weight, bias, dropout, draw)
            for whole, part in zip(found, transitions(scores, targets[items], blank), strict=True):
                whole[items, span] = part
        alpha, likelihood = forward_variables(found.blank, found.label, frames, labels)
        ctx.save_for_backward(acoustic, predicted, weight, bias, targets, frames, labels, *found, alpha, likelihood)
        ctx.blank, ctx.fastemit, ctx.dropout, ctx.seed, ctx.cells = blank, fastemit, dropout, seed, cells
        return -(1 + fastemit) * likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        acoustic, predicted, weight, bias, targets, frames, labels, *lattice = ctx.saved_tensors
        log_blank, log_label, norm, alpha, likelihood = lattice
        passes = backward_passes(
            log_blank, log_label, alpha, likelihood, frames, labels, factor, factor * (1 + ctx.fastemit)
        )
        into = [torch.zeros_like(x, dtype=norm.dtype) for x in (acoustic, predicted, weight, bias)]
        draw = torch.Generator(acoustic.device).manual_seed(ctx.seed)
        for items, span in _blocks(len(acoustic), acoustic.shape[1], predicted.shape[1], ctx.cells):
            hidden, scores = _joint(acoustic[items, span], predicted[items], weight, bias, ctx.dropout, draw)
            part = Passes(*(x[items, span] for x in passes))
            grad = scores_gradient(scores, norm[items, span], part, targets[items], ctx.blank, in_place=True)
            flat = grad.flatten(0, 2)
            into[2] += flat.t() @ hidden.flatten(0, 2)
            into[3] += flat.sum(0, dtype=norm.dtype)
            grad = (grad @ weight.to(grad.dtype)).masked_fill_(hidden <= 0, 0).div_(1 - ctx.dropout)
            into[0][items, span] = grad.sum(2, dtype=norm.dtype)
            into[1][items] += grad.sum(1, dtype=norm.dtype)
        own = (grad.to(x.dtype) for grad, x in zip(into, (acoustic, predicted, weight, bias), strict=True))
        return *own, *[None] * 7


def _blocks(b: int, t: int, width: int, cells: int) -> Iterator[tuple[slice, slice]]:
    """Items and frames whose lattices have about so many cells: parts of one item, or several whole ones."""
    span = min(t, max(1, cells // width))
    count = max(1, cells // (t * width)) if span == t else 1
    for item in range(0, b, count):
        for frame in range(0, t, span):
            yield slice(item, item + count), slice(frame, frame + span)


def _joint(
    acoustic: Tensor, predicted: Tensor, weight: Tensor, bias: Tensor, dropout: float, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Hidden units, [b, t, u + 1, j], and scores, [b, t, u + 1, v], of all pairs, in the dtype of `acoustic`."""
    dtype = acoustic.dtype
    with torch.autocast(acoustic.device.type, enabled=False):
        hidden = torch.relu(acoustic[:, :, None] + predicted[:, None].to(dtype))
        if dropout:
            dropped = torch.rand(hidden.shape, generator=draw, device=hidden.device) < dropout
            hidden = hidden.masked_fill_(dropped, 0).div_(1 - dropout)
        return hidden, linear(hidden, weight.to(dtype), bias.to(dtype))


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
