"""The optimiser and the schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class AdamWConfig:
    """AdamW (Loshchilov and Hutter 2019) under a schedule, and averaging of weights.

    schedule: "cosine" (to a hundredth of `lr` at `steps`; at its peak until `hold`, a share of `steps`) or "noam" (`lr`
    is its peak). clip: of the gradient's norm. average: decay of the exponential moving average of the weights.
    """

    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    warmup: int = 1000
    hold: float = 0.0
    steps: int = 20_000
    clip: float = 1.0
    average: float = 0.999


def rate(step: int, optim: AdamWConfig) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine or step**-0.5 (Vaswani et al. 2017)."""
    rise = (step + 1) / optim.warmup
    if optim.schedule == "noam":
        return min(rise, (optim.warmup / (step + 1)) ** 0.5)
    start = max(optim.warmup, optim.hold * optim.steps)
    done = min(1.0, max(0, step - start) / max(1, optim.steps - start))
    return min(rise, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


Scheduled = tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]


def adamw(parameters: Iterable[nn.Parameter], optim: AdamWConfig) -> Scheduled:
    """The optimiser, which decays matrices and kernels only, and its schedule by steps."""
    everything = list(parameters)
    groups = [
        {"params": [p for p in everything if p.dim() > 1], "weight_decay": optim.weight_decay},
        {"params": [p for p in everything if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, optim))
