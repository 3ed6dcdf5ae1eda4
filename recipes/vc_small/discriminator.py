"""Who tells made mel frames from true ones in the second training: the network itself, asked for a judgement."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recipes.vc_small.part import Given
from speech.vc.network import ConverterNetwork
from speech.vc.timbre import CrossAttention


class Pooling(nn.Module):
    """Frames to one vector, by attention with a query that is learned. [b, t, d] -> [b, d]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, dim) * dim**-0.5)
        self.attention = CrossAttention(dim, heads, dim, dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        keys, values = self.attention.kept(x, x)
        return self.attention(self.query.expand(len(x), -1, -1).to(x.dtype), keys, values, None)[:, 0]


class Discriminator(nn.Module):
    """Noisy mel frames with their time and conditions to a score for each row, near 1 for true and 0 for made ones.

    A copy of the network, whose layers know speech at every level of noise, with pooled features of the middle layer
    and the last one (diffusion adversarial post-training, Lin et al. 2025, arXiv 2501.08316, as MeanVC does it).
    """

    def __init__(self, network: ConverterNetwork) -> None:
        super().__init__()
        self.network = deepcopy(network)
        config = network.config
        self.taps = (config.layers // 2 - 1, config.layers - 1) if config.layers > 1 else (0,)
        self.pools = nn.ModuleList(Pooling(config.dim, config.heads) for _ in self.taps)
        self.score = nn.Sequential(
            nn.Linear(len(self.taps) * config.dim, config.dim), nn.SiLU(), nn.Linear(config.dim, 1)
        )
        for idle in (self.network.timbre, self.network.project, self.network.dit.out, self.network.dit.out_modulation):
            if idle is not None:
                idle.requires_grad_(False)

    def trained(self) -> list[nn.Parameter]:
        """Its parameters, those aside that no score depends on."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, z: Tensor, t: Tensor, given: Given) -> Tensor:
        """z: mel frames under noise [b, n, mel], at times t [b] -> scores [b], float32. given: their conditions."""
        dit, found = self.network.dit, []
        x, allowed = self.network.prepared(z, given.conditions, given.lengths, given.clean)
        layers = zip(dit.layers.children(), dit.modulate(t, t)[:-1], strict=True)
        for i, (layer, modulation) in enumerate(layers):
            x = layer(x, modulation, allowed)
            if i in self.taps:
                found.append(self.pools[len(found)](x.data[:, -z.shape[1] :]))
        return self.score(torch.cat(found, -1))[:, 0].float()


class Judged(NamedTuple):
    """The discriminator's losses: of its scores, and of how much they change with a little noise."""

    scores: Tensor
    penalty: Tensor


def judge(
    discriminator: Discriminator, made: Tensor, given: Given, generator: torch.Generator, wobble: float
) -> Judged:
    """Least squares (Mao et al. 2017, arXiv 1611.04076), and how the scores of true frames change with noise.

    made: [b, n, mel] without gradient. True and made frames get the same noise, of a level drawn for each row. wobble:
    deviation of the noise for the penalty, whose square over wobble ** 2 approximates the gradient's (R1).
    """
    t, noise = draw_noise(given.mel, generator)
    true = noised(given.mel, t, noise)
    moved = true + wobble * torch.randn(true.shape, generator=generator).to(true)
    real, fake, near = (discriminator(z, t, given) for z in (true, noised(made, t, noise), moved))
    return Judged((1 - real).square().mean() + fake.square().mean(), (real - near).square().mean())


def draw_noise(mel: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Times [b], evenly from [0, 1], and noise [b, n, mel]."""
    t = torch.rand(len(mel), generator=generator).to(mel)
    return t, torch.randn(mel.shape, generator=generator).to(mel)


def noised(mel: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Mel frames on their way to noise. mel, noise: [b, n, mel]; t: [b]."""
    time = t[:, None, None]
    return (1 - time) * mel + time * noise
