"""The objective of the converter's network, and what it is shown in training that is not as clean as its data."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.flow.objectives import MeanFlow, mean_flow_loss
from speech.vc.network import ConverterNetwork


def converter_loss(
    network: ConverterNetwork,
    mel: Tensor,
    conditions: Tensor,
    lengths: Tensor,
    noise: Tensor,
    t: Tensor,
    r: Tensor | None,
    *,
    clean: Tensor | None = None,
    guidance: float = 2.0,
    exponent: float = 0.5,
    alone: bool = False,
) -> MeanFlow:
    """The mean-flow loss of whole signals (see `flow.objectives.mean_flow_loss`), guidance included.

    mel, noise: [b, n, mel]; conditions: [b, n, d] of `ConverterNetwork.conditioned`, with those of some rows dropped
    (`flow.objectives.drop_rows`); lengths: [b] frames; t >= r: [b] (`draw_interval`; None: r = t). clean: what stands
    for the frames that were put out (default: mel itself; see `worn`). guidance: 1 does without the network's own
    judgement. alone: see `ConverterNetwork.forward`.
    """
    history = mel if clean is None else clean
    valid = torch.arange(mel.shape[1], device=mel.device) < lengths[:, None]

    def velocity(z: Tensor, t: Tensor, r: Tensor, given: Tensor = conditions) -> Tensor:
        return network(z, t, r, given, lengths, history, alone=alone)

    def free(z: Tensor, t: Tensor) -> Tensor:
        return velocity(z, t, t, torch.zeros_like(conditions))

    unguided = guidance == 1
    return mean_flow_loss(
        velocity, None if unguided else free, mel, noise, t, r, valid, guidance=guidance, exponent=exponent
    )


def worn(mel: Tensor, most: float, generator: torch.Generator | None = None) -> Tensor:
    """Mel frames with the errors that a stream's own history has: noise of a deviation drawn for each row in 0 .. most.

    A network that only ever saw true frames behind it takes its own errors for true, and they grow. mel: [b, t, d].
    """
    level = most * torch.rand(len(mel), 1, 1, generator=generator)
    return mel + (level * torch.randn(mel.shape, generator=generator)).to(mel)
