"""HiFT: version 3 beside a plain evaluation, look-ahead, gradients, configuration; Vocos and HiFT as one family."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from speech.hub.checkpoint import build
from speech.hub.cosyvoice.hift import from_public
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.streaming.timing import Timing
from speech.vocoder.hift import HiFT, HiFTConfig
from speech.vocoder.model import VocoderConfig, vocoder
from speech.vocoder.source import SourceConfig
from tests.streaming.cases_vocoder import HIFT, VOCOS
from tests.vocoder.public import FEATURES, HARMONICS, ReferenceV3, public_hift


@torch.inference_mode()
def test_version_3_equals_a_plain_evaluation() -> None:
    tensors = public_hift(causal=True)
    config, ours = from_public(tensors)
    model: HiFT = build(HiFT, config, ours, "hift.pt").eval()  # type: ignore[assignment]
    torch.manual_seed(0)
    mel, noise = torch.randn(1, 12, FEATURES), torch.rand(12 * 480, HARMONICS)
    model.source.noise = noise.unflatten(0, (12, 480)).transpose(1, 2).contiguous()
    plain, frames = ReferenceV3(tensors), Frames.whole(mel)
    f0 = plain.f0(mel.mT)
    torch.testing.assert_close(model.f0(frames).data.float(), f0)
    source = plain.source(f0, noise)
    torch.testing.assert_close(model.source(frames.like(f0)).data, source, atol=1e-5, rtol=0)
    wave = plain.body(mel.mT, source)
    assert wave.std() > 0.01
    torch.testing.assert_close(model.body(frames, Frames.whole(source)).data, wave, atol=2e-5, rtol=0)
    driver = Driver(model, 4, shape=(FEATURES,))
    streamed = torch.cat([driver.push(mel[0]), driver.flush()])
    torch.testing.assert_close(streamed, model(frames).data[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("config", "milliseconds"),
    [
        (HiFTConfig(), 405.3),
        (HiFTConfig(causal=True, source=SourceConfig(phase="nearest")), 80.5),
        (HiFTConfig(causal=True, pre_look_ahead=0, f0_look_ahead=0, source=SourceConfig(phase="integral")), 3.0),
    ],
)
def test_look_ahead_of_the_public_shapes(config: HiFTConfig, milliseconds: float) -> None:
    model = HiFT(replace(config, dim=8, f0_dim=4))
    assert round(-1000 * model.first(0) / config.sample_rate, 1) == milliseconds
    timing = Timing.of(model, config.sample_rate / config.hop, chunk=10)
    assert timing.latency_ms == pytest.approx(200 + milliseconds, abs=0.1)


@pytest.mark.parametrize(
    ("config", "samples"),
    [(HIFT, 12 * 9), (replace(HIFT, causal=True), 12 * 9), (VOCOS, 4 * 8), (replace(VOCOS, causal=True), 4 * 8)],
)
def test_one_family(config: VocoderConfig, samples: int) -> None:
    model = vocoder(config).eval()
    assert (model.sample_rate, model.hop, model.config) == (config.sample_rate, config.hop, config)
    with torch.inference_mode():
        assert model(Frames.whole(torch.randn(2, 9, config.features))).data.shape == (2, samples)


def test_gradients_reach_every_parameter() -> None:
    for config in (replace(HIFT, source=replace(HIFT.source, voiced_above=0.0)), VOCOS):
        model = vocoder(config).train()
        model(Frames.whole(torch.randn(2, 9, config.features))).data.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_default_size_is_the_public_one() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in HiFT(HiFTConfig()).parameters()) == 20_806_557


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match="even numbers"):
        HiFTConfig(up_kernels=(15, 11, 7))
    with pytest.raises(ValueError, match="same stages"):
        HiFTConfig(up_rates=(8, 5))
