"""Schedules: the learning rate, the weights of the losses and the look-ahead to train, by the step."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OptimConfig:
    """Losses and optimiser.

    transducer_weight: the transducer's share, from `transducer_start` (a share of `steps`) on; CTC has the rest, of
    which `intermediate` after the middle layer (Lee and Watanabe 2021, arXiv 2102.03216). alignment: the weight of
    frame targets, 0 for none; it begins at 1 and falls, linearly towards 0 at `alignment_steps`, to this value.

    contexts_start: steps that train the first look-ahead alone; then one is drawn by `context_weights`, or evenly.

    schedule: "cosine" (to a hundredth of `lr` at `steps`; at its peak until `hold`, a share of `steps`) or "noam" (`lr`
    is its peak).
    """

    transducer_weight: float = 0.7
    transducer_start: float = 0.0
    fastemit: float = 0.005
    intermediate: float = 0.0
    alignment: float = 0.0
    alignment_steps: int = 1500
    contexts_start: int = 0
    context_weights: tuple[float, ...] = ()
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    warmup: int = 1000
    hold: float = 0.0
    steps: int = 20_000
    clip: float = 1.0
    average: float = 0.999


def rate(step: int, optim: OptimConfig) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine or step**-0.5 (Vaswani et al. 2017)."""
    rise = (step + 1) / optim.warmup
    if optim.schedule == "noam":
        return min(rise, (optim.warmup / (step + 1)) ** 0.5)
    start = max(optim.warmup, optim.hold * optim.steps)
    done = min(1.0, max(0, step - start) / max(1, optim.steps - start))
    return min(rise, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def loss_weights(step: int, optim: OptimConfig) -> dict[str, float]:
    """Weights of `ctc`, `ctc_middle`, `transducer` and `alignment`; a loss of weight 0 need not be computed."""
    transducer = optim.transducer_weight if step >= optim.transducer_start * optim.steps else 0.0
    return {
        "ctc": (1 - transducer) * (1 - optim.intermediate),
        "ctc_middle": (1 - transducer) * optim.intermediate,
        "transducer": transducer,
        "alignment": max(optim.alignment, 1 - step / optim.alignment_steps) if optim.alignment else 0.0,
    }


def draw_context(step: int, optim: OptimConfig, contexts: Sequence[tuple[int, int]], seed: int) -> tuple[int, int]:
    """The (left, look-ahead) context that a step trains, by a seed that belongs to its batch."""
    if step < optim.contexts_start:
        return contexts[0]
    return random.Random(seed).choices(contexts, optim.context_weights or None)[0]
