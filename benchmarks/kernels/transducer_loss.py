"""The transducer loss and its gradient for a training batch of the 114 M FastConformer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.kernels.case import Call, Case
from speech.kernels.transducer_lattice import (
    backward_passes,
    backward_passes_reference,
    forward_variables,
    forward_variables_reference,
)
from speech.kernels.transducer_scores import (
    scores_gradient,
    scores_gradient_reference,
    transitions,
    transitions_reference,
)

TOKENS = 1025


def cases() -> Iterator[Case]:
    """By items, frames of 80 ms and labels. Least work: scores are read twice, their gradient is written once."""
    for b, t, u in ((1, 5, 3), (16, 125, 30), (16, 200, 50)):
        numbers = b * t * (u + 1) * TOKENS
        make, waits = partial(calls, b, t, u), 6 + t + u  # each diagonal of the lattice waits for the one before
        yield Case(f"transducer loss [{b}, {t}, {u + 1}]", make, 6 * numbers, 8 * numbers, waits=waits)


def calls(b: int, t: int, u: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, Call]:
    """Forward and backward on random scores."""
    torch.manual_seed(0)
    scores = torch.randn(b, t, u + 1, TOKENS).to(device, dtype)
    tokens = torch.randint(TOKENS - 1, (b, u)).to(device)
    frames, labels = torch.full((b,), t, device=device), torch.full((b,), u, device=device)
    weight, blank = torch.ones(b, device=device), TOKENS - 1

    def kernel() -> tuple[Tensor, ...]:
        log_blank, log_label, norm = transitions(scores, tokens, blank)
        alpha, likelihood = forward_variables(log_blank, log_label, frames, labels)
        passes = backward_passes(log_blank, log_label, alpha, likelihood, frames, labels, weight, weight)
        return likelihood, scores_gradient(scores, norm, passes, tokens, blank)

    def reference() -> tuple[Tensor, ...]:
        log_blank, log_label, norm = transitions_reference(scores, tokens, blank)
        alpha, likelihood = forward_variables_reference(log_blank, log_label, frames, labels)
        passes = backward_passes_reference(log_blank, log_label, alpha, likelihood, frames, labels, weight, weight)
        return likelihood, scores_gradient_reference(scores, norm, passes, tokens, blank)

    return kernel, reference
