"""A converter of random weights, and recordings for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from speech.audio.mel import MEANVC_MEL
from speech.content.campplus import CAMPPlusConfig
from speech.content.encoder import TUNE, ContentConfig
from speech.content.u2pp import U2PPConfig
from speech.streaming.attention import Attention
from speech.vc.converter import Converter
from speech.vc.matching import MatchConfig
from speech.vc.model import ConverterModel, ConverterModelConfig
from speech.vc.network import ConverterConfig
from speech.vc.timbre import Match, PromptConfig, TokenConfig
from speech.vc.voice import TargetVoice
from speech.vocoder.vocos import VocosConfig

DIM, SPEAKER, MEL = 8, 6, 8
SPEAKER_ENCODER = CAMPPlusConfig(
    dim=SPEAKER, front_channels=2, channels=8, growth=4, bottleneck=1, layers=(1, 1, 1), segment=20
)


def small_config(*, second: bool = False) -> ConverterModelConfig:
    """A version 1 on the project's own content encoder (chunks of 80 ms), or a version 2 on U2++ (80 + 40 ms)."""
    network = ConverterConfig(
        DIM, SPEAKER, MEL, timbre=PromptConfig(1, 2, 12), dim=12, layers=2, head_dim=4, chunk=8, past=(2,)
    )
    if second:
        content = U2PPConfig(dim=DIM, layers=1, heads=2, ff_hidden=12, chunk=2)
        network = replace(
            network,
            timbre=TokenConfig(3, 2, 8),
            past=(2, 1),
            ahead=(4, 0),
            history=False,
            sampling=replace(ConverterConfig.second().sampling, steps=1),
        )
    else:
        content = ContentConfig(
            dim=DIM, layers=1, heads=2, left=6, levels=(), vocabulary=DIM - TUNE, dropout=0.0, tune=True
        )
    return ConverterModelConfig(
        content,
        "embedding" if second else "said",
        network,
        (0.5, 0.5),
        VocosConfig(features=MEL, dim=12, hidden=16, layers=1, causal=not second),
        replace(MEANVC_MEL, features=MEL),
        SPEAKER_ENCODER,
        None if second else MatchConfig(),
    )


def small_model(*, second: bool = False) -> ConverterModel:
    """Random weights under which content and target both matter and samples are loud."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ConverterModel(small_config(second=second)).eval()
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="linear")
            elif not name.endswith("gamma"):
                nn.init.normal_(parameter, float(name.endswith("weight")), 0.2)
        for layer in model.modules():
            if isinstance(layer, Attention) and layer.tabled:
                nn.init.normal_(layer.u)
                nn.init.normal_(layer.v)
        model.vocoder.get_parameter("head.out.bias").data[: model.vocoder.config.n_fft // 2 + 1] += 0.5
    return model


def small_converter(*, second: bool = False) -> Converter:
    """Two targets, `anna` and `ben`."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        targets = {name: small_target() for name in ("anna", "ben")}
    return Converter(small_model(second=second), targets)


def small_target(frames: int = 30) -> TargetVoice:
    """A target of random numbers."""
    match = Match(torch.randn(()), 1 + 0.2 * torch.randn(MEL), torch.randn(MEL))
    return TargetVoice(torch.randn(SPEAKER), torch.randn(frames, MEL), match)


def voice(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Noise whose level changes, [n] float32."""
    count = round(seconds * rate)
    time = np.arange(count) / rate
    x = np.random.default_rng(seed).standard_normal(count)
    return (0.1 * (1.1 + np.sin(9 * time)) * x).astype(np.float32)
