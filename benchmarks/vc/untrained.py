"""Converters with random weights, of the sizes of public models, and what those models' own code takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from speech.content.u2pp import U2PPConfig
from speech.flow.solver import Sampling
from speech.kernels.linear import pack
from speech.vc.model import ConverterModel, ConverterModelConfig
from speech.vc.network import ConverterConfig
from speech.vc.timbre import PromptConfig
from speech.vocoder.vocos import VocosConfig

SIZES = {
    "meanvc": ConverterModelConfig(),
    "meanvc2": ConverterModelConfig(network=ConverterConfig.second()),
    "tiny": ConverterModelConfig(
        content=U2PPConfig(dim=8, layers=1, heads=2, ff_hidden=16),
        network=ConverterConfig(
            8, 8, timbre=PromptConfig(1, 2, 8), dim=16, layers=1, head_dim=4, sampling=Sampling(1, 0.0, True)
        ),
        vocoder=VocosConfig(dim=16, hidden=16, layers=1),
    ),
}
"""Configurations by name, all without a speaker encoder; tiny is for smoke tests."""


@dataclass(frozen=True)
class Setting:
    """How a converter runs. chunk: milliseconds; steps: evaluations of the network a chunk."""

    chunk: float
    steps: int


SETTINGS = {
    "meanvc": (Setting(200, 1), Setting(200, 2), Setting(160, 1), Setting(160, 2)),
    "meanvc2": (Setting(120, 2), Setting(40, 2)),
}
"""At which the public models are measured; others run as they were trained."""

ORIGINAL = {
    ("meanvc", Setting(200, 1)): {"network": (33.1, 21.6), "vocoder": (10.6, 10.6)},
    ("meanvc", Setting(200, 2)): {"network": (63.4, 43.0), "vocoder": (10.6, 10.6)},
    ("meanvc", Setting(160, 1)): {"network": (20.2, 23.2), "vocoder": (10.0, 9.9)},
    ("meanvc", Setting(160, 2)): {"network": (33.1, 33.5), "vocoder": (10.0, 9.9)},
    ("meanvc2", Setting(120, 2)): {"network": (24.0, 24.0)},
    ("meanvc2", Setting(40, 2)): {"network": (20.4, 20.4)},
}
"""Milliseconds a chunk of the models' own code, by stage: median of the wall time, and processor time.

Measured once, outside this benchmark: public sizes, random weights, float32, eager PyTorch 2.5.1, one thread, on an AMD
EPYC with AVX-512 of two virtual cores that other programs shared; `CALLS` calls after 10. MeanVC's network encodes its
prompt of 300 frames in every call; MeanVC 2's was given its keys. The vocoder computes 3 frames of the past again.
"""

CALLS = 60


def untrained(name: str) -> ConverterModel:
    """A converter of these sizes, laid out for inference as a loaded one is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ConverterModel(SIZES[name]).eval()
    pack(model)
    return model
