"""Losses whose values are known, what is drawn for training, and gradients that reach every weight."""

from __future__ import annotations

import pytest
import torch

from speech.flow.encoder import EncoderConfig
from speech.flow.layers import Context
from speech.flow.model import Flow, FlowConfig
from speech.flow.objectives import (
    adaptive_mean,
    draw_interval,
    draw_prefix,
    drop_rows,
    flow_matching_loss,
    mean_flow_loss,
    training_contexts,
)
from speech.flow.unet import UNetConfig
from speech.streaming.frames import Frames

B, T, MEL = 3, 12, 4


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_flow_matching(generator: torch.Generator) -> None:
    mel, noise = torch.randn(2, B, T, MEL, generator=generator)
    t = torch.rand(B, generator=generator)
    valid = torch.arange(T) < torch.tensor([[T], [5], [1]])
    seen = []

    def velocity(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append((x, time))
        return mel - noise + 0.5 * valid[..., None] + 9 * ~valid[..., None]

    loss = flow_matching_loss(velocity, mel, noise, t, valid)
    torch.testing.assert_close(loss, torch.tensor(0.25), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[0][0], torch.lerp(noise, mel, t[:, None, None]), atol=1e-5, rtol=0)


def test_mean_flow_of_a_known_network(generator: torch.Generator) -> None:
    """For u = z t + r the slope along (v, 1, 0) is v t + z."""
    mel, noise = torch.randn(2, B, T, MEL, generator=generator)
    t, r = draw_interval(B, 0.0, generator)
    valid = torch.ones(B, T, dtype=torch.bool)
    got = mean_flow_loss(lambda z, t, r: z * t[:, None, None] + r[:, None, None], None, mel, noise, t, r, valid)
    time, v = t[:, None, None], noise - mel
    z = mel + time * v
    torch.testing.assert_close(got.slope, v * time + z)
    torch.testing.assert_close(got.target, v - (t - r)[:, None, None] * got.slope)
    error = (got.velocity - got.target).square().mean(-1)
    torch.testing.assert_close(got.error, error.mean())
    torch.testing.assert_close(got.loss, (error / (error + 1e-3).sqrt()).mean())


def test_weights_of_the_loss_carry_no_gradient() -> None:
    error = torch.tensor([[4.0, 7.0]], requires_grad=True)
    valid = torch.tensor([[True, False]])
    (gradient,) = torch.autograd.grad(adaptive_mean(error, valid), error)
    torch.testing.assert_close(gradient, torch.tensor([[(4 + 1e-3) ** -0.5, 0.0]]))


def test_draws(generator: torch.Generator) -> None:
    t, r = draw_interval(1000, 0.25, generator)
    assert (t >= r).all() and (t == r).sum() == 250 and t.max() < 1 and r.min() > 0
    mel, lengths = torch.ones(400, 50, 1), torch.full((400,), 40)
    kept = draw_prefix(mel, lengths, generator)[..., 0]
    counts = kept.sum(1)
    assert counts.max() <= 12 and 0.4 < (counts == 0).float().mean() < 0.65
    assert torch.equal(kept, (torch.arange(50) < counts[:, None]).float())
    rows = drop_rows(torch.ones(1000, 2, 3), 0.2, generator).sum((1, 2))
    assert set(rows.tolist()) == {0, 6} and 150 < (rows == 0).sum() < 250


def test_four_contexts() -> None:
    whole, past, once, twice = training_contexts(Context(5, 10, 3))
    assert (whole.chunk, past.chunk, once.chunk, twice.chunk) == (None, 1, 5, 10)
    assert not any(context.streams or context.sinks for context in (whole, past, once, twice))


@pytest.mark.parametrize("which", range(4))
def test_training_reaches_every_weight(which: int, generator: torch.Generator) -> None:
    encoder = EncoderConfig(dim=8, ahead_hidden=6, layers=1, up_layers=1, heads=2, ff_hidden=12)
    unet = UNetConfig(mel=MEL, dim=8, time_dim=8, layers=1, middle=1, heads=2, head_dim=4, interval=True)
    flow = Flow(FlowConfig(9, 5, encoder, unet, Context(3, 6)))
    context = training_contexts(flow.config.context)[which]
    mel, noise = torch.randn(2, B, 2 * T, MEL, generator=generator)
    lengths = torch.tensor([T, 7, 4])
    prompt = draw_prefix(mel, 2 * lengths, generator)
    tokens = torch.randint(9, (B, T), generator=generator)
    given = flow.conditioned(tokens, torch.randn(B, 5, generator=generator), prompt)
    conditions = flow.encoder(context)(flow.ahead()(Frames.whole(given, lengths)))
    network, valid = flow.estimator.at(context), conditions.place.valid

    def velocity(x: torch.Tensor, t: torch.Tensor, r: torch.Tensor | None = None) -> torch.Tensor:
        rows = conditions.like(torch.cat([x, conditions.data], -1))
        return network(rows, network.modulate(t, r)).data

    t, r = draw_interval(B, 0.5, generator)
    loss = flow_matching_loss(velocity, mel, noise, t, valid)
    loss = loss + mean_flow_loss(velocity, velocity, mel, noise, t, r, valid).loss
    loss.backward()
    assert loss.isfinite()
    for name, weight in flow.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
