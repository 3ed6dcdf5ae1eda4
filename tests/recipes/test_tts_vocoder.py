"""Losses and discriminators of the vocoder, and the segments it trains on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import torch
from lhotse import MonoCut, Recording

from recipes.common.cache import AudioCache
from recipes.tts_small.discriminators import DiscriminatorConfig, Discriminators
from recipes.tts_small.losses import SpectralLoss, adversarial_loss, discriminator_loss, feature_loss, split
from recipes.tts_small.pools import Numbers, Pool
from recipes.tts_small.segments import SegmentConfig, Segments


def pool(folder: Path, name: str, value: int, weight: float, seconds: tuple[float, ...]) -> Pool:
    """Utterances of a constant sample value, whose f0 is their frame number."""
    audio, cuts, f0, offset = AudioCache(folder, name), [], {}, 0
    counts = [round(s * 16000) for s in seconds]
    np.full(sum(counts), value, np.int16).tofile(audio.pcm)
    for i, count in enumerate(counts):
        cut = MonoCut(f"{name}{i}", 0.0, count / 16000, 0, recording=Recording(f"{name}{i}", [], 16000, count, count))
        cut.custom = {"offset": offset, "samples": count}
        cuts.append(cut)
        f0[cut.id] = np.arange(count // 160, dtype=np.float16)
        offset += count
    return Pool(audio, cuts, f0, weight)


def test_segments_keep_shapes_weights_and_the_place_of_f0(tmp_path: Path) -> None:
    pools = [pool(tmp_path, "read", 8000, 3.0, (1.0, 3.0)), pool(tmp_path, "other", 2000, 1.0, (4.0, 0.2))]
    config = SegmentConfig(size=16, frames=40, margin=3)
    data = Segments(pools, config, 1, augment=False)
    batches = [data[i] for i in range(30)]
    assert batches[0].samples.shape == (16, 46 * 160)
    assert batches[0].f0.shape == (16, 40)
    assert all((b.f0.diff(dim=1) == 1).all() and (b.f0[:, 0] >= 3).all() for b in batches)
    level = torch.cat([b.samples[:, 0] for b in batches])
    assert float((level > 0.1).float().mean()) == pytest.approx(0.75, abs=0.06)  # 3 x 4 s against 1 x 4 s
    again = Segments(pools, config, 1, augment=False)[7]
    assert again.seed == batches[7].seed
    torch.testing.assert_close(again.samples, batches[7].samples)


def test_gain_is_drawn_and_never_clips(tmp_path: Path) -> None:
    data = Segments([pool(tmp_path, "loud", 32000, 1.0, (2.0,))], SegmentConfig(size=8), 1, augment=True)
    levels = torch.cat([data[i].samples[:, 0] for i in range(20)])
    assert levels.abs().max() <= 1.0
    assert levels.abs().min() < 0.5
    assert 0.3 < float((levels > 0).float().mean()) < 0.7


def test_numbers_go_on_and_are_shared_out() -> None:
    assert list(islice(Numbers(5), 3)) == [5, 6, 7]
    ranks = [list(islice(Numbers(2, rank, 2), 3)) for rank in (0, 1)]
    assert ranks == [[4, 6, 8], [5, 7, 9]]


@pytest.mark.parametrize("samples", [1600, 4001])
def test_each_discriminator_scores_and_shows_its_layers(samples: int) -> None:
    config = DiscriminatorConfig(period_channels=(4, 8), resolution_channels=(4, 6))
    judgements = Discriminators(config)(torch.randn(2, samples))
    assert len(judgements) == len(config.periods) + len(config.resolutions)
    for period, judgement in zip(config.periods, judgements, strict=False):
        assert [f.shape[1] for f in judgement.features] == [4, 8]
        assert judgement.scores.shape[-1] == period
    for (n_fft, hop), judgement in zip(config.resolutions, judgements[len(config.periods) :], strict=True):
        assert judgement.features[0].shape == (2, 4, samples // hop + 1, n_fft // 4 + 1)


def test_a_judged_batch_falls_into_its_halves() -> None:
    judges = Discriminators(DiscriminatorConfig(period_channels=(4,), resolution_channels=(4,)))
    real, made = torch.randn(2, 2, 1600)
    halves = split(judges(torch.cat([real, made])))
    for half, alone in zip(halves, (judges(real), judges(made)), strict=True):
        for a, b in zip(half, alone, strict=True):
            torch.testing.assert_close(a.scores, b.scores)
            torch.testing.assert_close(a.features[0], b.features[0])
    assert feature_loss(halves[0], halves[0]) == 0
    assert feature_loss(*halves) > 0


def test_discriminators_learn_to_tell_and_pull_towards_the_real() -> None:
    torch.manual_seed(0)
    judges = Discriminators(DiscriminatorConfig(periods=(2,), period_channels=(8,), resolution_channels=(4,)))
    optimizer = torch.optim.Adam(judges.parameters(), 1e-2)
    real = 0.5 * torch.sin(torch.arange(4000) * torch.rand(4, 1)).float()
    made = torch.zeros_like(real).requires_grad_()
    first = None
    for _ in range(30):
        optimizer.zero_grad()
        loss = discriminator_loss(*split(judges(torch.cat([real, made.detach()]))))
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < 0.5 * first
    score = adversarial_loss(judges(made + 1e-3 * torch.randn_like(made)))
    (pull,) = torch.autograd.grad(score, made)
    assert pull.abs().sum() > 0
    better = adversarial_loss(judges(real))
    assert better < score


def test_spectral_loss_is_zero_on_itself_and_finite_on_silence() -> None:
    loss, x = SpectralLoss(), torch.randn(2, 4000)
    assert loss(x, x) == 0
    assert float(loss(0.5 * x, x)) == pytest.approx(0.5 + np.log(2), rel=1e-2)
    silent = torch.zeros(2, 4000, requires_grad=True)
    value = loss(silent, silent.detach())
    value.backward()
    assert torch.isfinite(value)
    assert silent.grad is not None and torch.isfinite(silent.grad).all()
