"""Golden numbers of MeanVC: its real-time loop over 64 chunks, the reset at chunk 50 included, and whole signals."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from speech.flow.solver import Sampling
from speech.hub.checkpoint import build
from speech.hub.meanvc.folder import from_meanvc
from speech.streaming.attention import Rotary
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.streaming.module import State
from speech.vc.network import ConverterNetwork
from speech.vc.timbre import Target

TIMES = {1: None, 2: (1.0, 0.8, 0.0), 4: None}
CHUNK, BACK = 20, 5


class Golden:
    """The imported network, its target, and what the original made of it."""

    def __init__(self, folder: Path) -> None:
        self.tensors = load_file(folder / "model.safetensors")
        self.network = cast(ConverterNetwork, build(ConverterNetwork, *from_meanvc(self.tensors), "MeanVC")).eval()
        with np.load(folder / "io.npz") as arrays:
            self.io = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.inference_mode():
            self.target: Target = self.network.target(self.io["spk_embedding"][None], self.io["prompt_mel"][None])

    def __getitem__(self, name: str) -> Tensor:
        array = self.io[name]
        return array.float() if array.is_floating_point() else array


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    return Golden(shared / "fixtures/meanvc1_dit")


def sampling(steps: int) -> Sampling:
    return Sampling(steps, 0.0, True, TIMES[steps])


def kept(state: State, layer: int, name: str, stop: int) -> Tensor:
    """What a ring of 100 keys or values holds, in the order of time, and keys turned back: [h, n, e]."""
    index = torch.arange(stop - CHUNK * BACK, stop)
    ring = state["layers"][f"{layer}"]["attention"][name][:, :, index % (CHUNK * BACK)]
    return (Rotary(interleaved=True)(ring, -index[None]) if name == "k" else ring)[0]


@torch.inference_mode()
def test_content_and_timbre(golden: Golden) -> None:
    pipeline = golden.network.pipeline()
    content = pipeline.get_submodule("interpolate")(Frames.whole(golden["bn_25hz"][None, :20])).data
    torch.testing.assert_close(content[0].view(4, CHUNK, -1), golden["cond_100hz"], atol=2e-5, rtol=0)
    heard = golden.network.timbre(content[:, :CHUNK], golden.target)
    torch.testing.assert_close(heard[0], golden["timbre_chunk0"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("steps", [1, 2])
def test_every_chunk_of_a_stream(golden: Golden, steps: int) -> None:
    noise = golden["noise"].flatten(0, 1)
    room = golden.target.room + 20  # the last cells stay empty
    driver = Driver(golden.network.pipeline(room, sampling(steps), noise), 5, shape=(256,))
    assert driver.phase == 0
    golden.target.write(driver.seat.lane.arena.state["timbre"], driver.seat.slot)
    mel = torch.stack([driver.push(content) for content in golden["bn_25hz"].split(5)])
    torch.testing.assert_close(mel[0], golden[f"mel_{steps}step"][0], atol=2e-5, rtol=0)
    torch.testing.assert_close(mel, golden[f"mel_{steps}step"], atol=1e-4, rtol=0)
    for layer in range(golden.network.config.layers):
        for name in ("k", "v"):
            wanted = golden[f"final_{name}_{steps}step"][layer]
            ours = kept(driver.seat.lane.arena.state["solver"], layer, name, 63 * CHUNK)
            torch.testing.assert_close(ours, wanted, atol=2e-4, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 4])
@torch.inference_mode()
def test_whole_signals(golden: Golden, steps: int) -> None:
    """The original's offline path, whose last chunk is a short one."""
    conditions = golden.network.conditioned(golden["offline_cond"][None], golden.target)
    mel = golden.network.solver(sampling(steps), golden["offline_noise"])(Frames.whole(conditions)).data[0]
    torch.testing.assert_close((mel.T + 1) / 2, golden[f"offline_mel01_{steps}step"], atol=1e-4, rtol=0)
