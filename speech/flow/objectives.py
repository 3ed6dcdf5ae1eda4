"""Training objectives of velocity networks, and what they draw: flow matching and mean flow.

A network is a function here, so that whatever conditions it stays with the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from speech.flow.layers import Context


def flow_matching_loss(
    velocity: Callable[[Tensor, Tensor], Tensor],
    mel: Tensor,
    noise: Tensor,
    t: Tensor,
    valid: Tensor,
    sigma: float = 1e-6,
) -> Tensor:
    """Mean squared error of velocities on the straight paths from noise to mel (Lipman et al. 2023, arXiv 2210.02747).

    x = (1 - (1 - sigma) t) noise + t mel, and the velocity is mel - (1 - sigma) noise.
    velocity: (x [b, t, d], t [b]) -> [b, t, d]. mel, noise: [b, t, d]; t: [b] in [0, 1]; valid: [b, t] bool.
    """
    time = t[:, None, None]
    x = (1 - (1 - sigma) * time) * noise + time * mel
    error = (velocity(x, t) - mel + (1 - sigma) * noise).square().mean(-1)
    return valid_mean(error, valid)


@dataclass(frozen=True)
class MeanFlow:
    """A mean-flow loss and its parts.

    error: the mean squared error without weights. velocity, slope, target: [b, t, d], the network's output u, its
    derivative du/dt along the path, and what u should have been.
    """

    loss: Tensor
    error: Tensor
    velocity: Tensor
    slope: Tensor
    target: Tensor


def mean_flow_loss(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    free: Callable[[Tensor, Tensor], Tensor] | None,
    mel: Tensor,
    noise: Tensor,
    t: Tensor,
    r: Tensor | None,
    valid: Tensor,
    *,
    guidance: float = 2.0,
    exponent: float = 0.5,
) -> MeanFlow:
    """The mean-flow identity u = v - (t - r) du/dt as a regression (Geng et al. 2025, arXiv 2505.13447).

    z = (1 - t) mel + t noise; v = noise - mel, with guidance w inside the target: w v + (1 - w) free(z, t).
    network: (z [b, t, d], t [b], r [b]) -> average velocity over [r, t]; it is differentiated forward along (v, 1, 0).
    free: (z, t) -> the unconditional velocity, without gradient; None: no guidance. mel, noise: [b, t, d]; t >= r: [b];
    valid: [b, t] bool. exponent: of the weights of `adaptive_mean`. r None: r = t, where the derivative does not matter
    and is not computed.
    """
    time = t[:, None, None]
    z = (1 - time) * mel + time * noise
    v = noise - mel
    if free is not None:
        with torch.no_grad():
            v = guidance * v + (1 - guidance) * free(z, t)
    if r is None:
        u = network(z, t, t)
        slope, target = torch.zeros_like(u), v.detach()
    else:
        u, slope = torch.func.jvp(network, (z, t, r), (v, torch.ones_like(t), torch.zeros_like(r)))[:2]
        target = (v - (t - r)[:, None, None] * slope).detach()
    error = (u - target).square().mean(-1)
    return MeanFlow(adaptive_mean(error, valid, exponent), valid_mean(error, valid), u, slope, target)


def adaptive_mean(error: Tensor, valid: Tensor, exponent: float = 0.5, floor: float = 1e-3) -> Tensor:
    """The mean of frame errors, each weighted by (its value + floor) ** -exponent without gradient. [b, t] -> []."""
    return valid_mean(error * (error.detach() + floor) ** -exponent, valid)


def valid_mean(x: Tensor, valid: Tensor) -> Tensor:
    """The mean over valid frames. x: [b, t]; valid: [b, t] bool."""
    return x.masked_fill(~valid, 0.0).sum() / valid.sum()


def draw_interval(rows: int, equal: float = 0.5, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Ends t >= r of intervals, [rows] each: sorted pairs of sigmoid(N(-0.4, 1)); r = t in a share `equal` of rows."""
    pair = torch.sigmoid(torch.randn(rows, 2, generator=generator) - 0.4)
    t, r = pair.amax(1), pair.amin(1)
    same = torch.randperm(rows, generator=generator)[: int(equal * rows)]
    r[same] = t[same]
    return t, r


def draw_prefix(mel: Tensor, lengths: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A prompt for training: the first 0 to 30 % of each row's frames, and none in half of the rows; zeros elsewhere.

    mel: [b, t, d]; lengths: [b] frames.
    """
    share, none = torch.rand(2, len(mel), generator=generator).to(mel.device)
    kept = (0.3 * share * lengths).long() * (none >= 0.5)
    return mel.masked_fill((torch.arange(mel.shape[1], device=mel.device) >= kept[:, None])[..., None], 0.0)


def drop_rows(conditions: Tensor, share: float = 0.2, generator: torch.Generator | None = None) -> Tensor:
    """Whole rows set to zero, each with probability `share`, so that the network learns guidance. [b, t, d]."""
    dropped = torch.rand(len(conditions), generator=generator).to(conditions.device) < share
    return conditions.masked_fill(dropped[:, None, None], 0.0)


def training_contexts(context: Context) -> tuple[Context, Context, Context, Context]:
    """The four masks that a batch draws from uniformly (Du et al. 2024, arXiv 2412.10117, section 2.4).

    The whole signal, the past alone, and chunks of one and of two times `context.chunk`, all with the whole past: what
    sees more teaches what sees less.
    """
    chunk = context.chunk or Context().chunk or 1
    chunks = (None, 1, chunk, 2 * chunk)
    whole, past, once, twice = (replace(context, chunk=n, left=None, sinks=0) for n in chunks)
    return whole, past, once, twice
