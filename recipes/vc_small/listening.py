"""What the content encoder hears in the mel frames that a network makes: is it what was said?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recipes.tts_small.listening import sampled
from recipes.vc_small.part import Given
from recipes.vc_small.perturb import PerturbConfig
from speech.flow.solver import Sampling
from speech.vc.network import ConverterNetwork

ONE_STEP = Sampling(1, 0.0, True)

UNDISTURBED = PerturbConfig(gain_db=(0.0, 0.0), snr_db=(100.0, 100.0), warp=1.0)
"""What is listened to is made of content as it is in use."""


@dataclass(frozen=True)
class ListenConfig:
    """share: of the rows of a batch that are made as a stream makes them, and listened to. weight: of the loss. lag:
    frames of 10 ms by which the content encoder tells phones later than they are spoken."""

    share: float = 0.0
    weight: float = 0.3
    lag: int = 3


def converted(network: ConverterNetwork, given: Given, sampling: Sampling) -> Tensor:
    """The mel frames that a stream would make, as nearly as whole signals can: [b, n, mel], float32.

    The past is what the network makes of a first guess in one step.
    """

    def velocity(z: Tensor, t: Tensor, r: Tensor) -> Tensor:
        return network(z, t, r, given.conditions, given.lengths, past)

    past = given.clean
    with torch.no_grad():
        past = sampled(velocity, sampling.temperature * given.noise, ONE_STEP)
    return sampled(velocity, given.noise, sampling)
