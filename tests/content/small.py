"""The models of this room at sizes that a test can afford, with weights whose outputs vary."""

from __future__ import annotations

import torch
from torch import nn

from speech.content.campplus import CAMPPlus, CAMPPlusConfig
from speech.content.encoder import ContentConfig, ContentEncoder
from speech.content.s3 import S3Config, S3Tokenizer
from speech.streaming.frames import Frames

S3 = S3Config(dim=64, heads=1, layers=1, kernel=5)
CAM = CAMPPlusConfig(front_channels=4, channels=8, growth=4, bottleneck=2, layers=(2, 3, 1), segment=20)
CONTENT = ContentConfig(dim=16, layers=2, heads=2, left=10, levels=(5, 4, 3), vocabulary=6, dropout=0.0)


def tokenizer() -> S3Tokenizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = S3Tokenizer(S3)
        nn.init.normal_(model.project.weight)
        return model.eval()


def speaker_encoder() -> CAMPPlus:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CAMPPlus(CAM)
        for name, tensor in model.named_parameters():
            if tensor.dim() > 1:
                nn.init.kaiming_normal_(tensor)
            else:
                nn.init.normal_(tensor, float(name.endswith("weight")), 0.3)
        return model.eval()


def content_encoder() -> ContentEncoder:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = ContentEncoder(CONTENT)
        assert model.bottleneck is not None
        down, features = model.bottleneck.down, model.eval()(Frames.whole(noise(2)[None]), "features").data
        nn.init.normal_(down.weight)
        down.bias.data = -(down.weight @ features.mean((0, 1)))
        return model


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    """Noise whose level and colour change, [n], 16 kHz."""
    count = round(16000 * seconds)
    time = torch.arange(count) / 16000
    x = 0.1 * torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return x * (1.1 + (7 * time).sin()) + 0.3 * (2000 * time + 300 * (3 * time).sin()).sin()
