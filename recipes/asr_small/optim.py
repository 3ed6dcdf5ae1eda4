"""Schedules: the weights of the losses and the look-ahead to train, by the step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from recipes.common.optim import AdamWConfig


@dataclass(frozen=True)
class OptimConfig(AdamWConfig):
    """Losses and optimiser.

    transducer_weight: the transducer's share, from `transducer_start` (a share of `steps`) on; CTC has the rest, of
    which `intermediate` after the middle layer (Lee and Watanabe 2021, arXiv 2102.03216). alignment: the weight of
    frame targets, 0 for none; it begins at 1 and falls, linearly towards 0 at `alignment_steps`, to this value.
    joint_cells: on a CUDA device, for how many pairs of a frame and a label the transducer's scores exist at a time,
    and once more for their gradient, so that memory does not grow with the batch; 0: for all of them, once.

    contexts_start: steps that train the first look-ahead alone; then one is drawn by `context_weights`, or evenly.
    """

    transducer_weight: float = 0.7
    transducer_start: float = 0.0
    fastemit: float = 0.005
    joint_cells: int = 8192
    intermediate: float = 0.0
    alignment: float = 0.0
    alignment_steps: int = 1500
    contexts_start: int = 0
    context_weights: tuple[float, ...] = ()


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
