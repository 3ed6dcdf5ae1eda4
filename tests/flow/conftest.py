"""The golden flow and a small one of random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.flow.dit import DiTConfig
from speech.flow.encoder import EncoderConfig
from speech.flow.layers import Context
from speech.flow.model import Flow, FlowConfig
from speech.flow.solver import Sampling
from speech.hub.cosyvoice.flow import from_cosyvoice_flow


@dataclass(frozen=True, eq=False)
class Golden:
    """An imported flow and what the original made of its inputs."""

    flow: Flow
    arrays: dict[str, Tensor]
    weights: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]


@pytest.fixture(scope="session")
def golden(shared: Path) -> Golden:
    folder = shared / "fixtures" / "cosyvoice2_flow"
    weights = torch.load(folder / "flow.pt", weights_only=True)
    config, tensors = from_cosyvoice_flow(weights, head_dim=32)
    flow = Flow(config).eval()
    flow.load_state_dict(tensors)
    with np.load(folder / "io.npz") as arrays:
        found = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name in ("tokens", "prompt_tokens"):
        found[name] = found[name].long()
    return Golden(flow, found, weights)


@pytest.fixture(scope="session")
def small() -> Flow:
    """A flow that takes milliseconds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = EncoderConfig(dim=8, ahead_hidden=6, layers=0, up_layers=0)
        estimator = DiTConfig(mel=8, dim=16, layers=2, heads=2, head_dim=8, position_conv=4)
        return Flow(FlowConfig(20, 6, encoder, estimator, Context(5, 10), Sampling(steps=3))).eval()
