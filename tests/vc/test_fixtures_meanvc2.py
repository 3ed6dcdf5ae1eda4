"""Golden numbers of MeanVC 2: both chunk sizes, live, at the end of a stream, over a reset, and whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from speech.flow.solver import Sampling
from speech.hub.checkpoint import build
from speech.hub.meanvc.folder import from_meanvc
from speech.streaming.arena import Arena
from speech.streaming.attention import Rotary
from speech.streaming.frames import OPEN, Frames, Place
from speech.vc.network import ConverterNetwork

AHEAD = 4
TOLERANCE = 5e-5


@dataclass(frozen=True, eq=False)
class Golden:
    """The network at one chunk size, and what the original made with it."""

    network: ConverterNetwork
    io: dict[str, Tensor]
    name: str
    late: int

    @property
    def chunk(self) -> int:
        return self.network.config.chunk

    def __getitem__(self, name: str) -> Tensor:
        array = self.io.get(f"{self.name}_{name}", self.io.get(name))
        assert array is not None, name
        return array.float() if array.is_floating_point() else array

    @property
    def noise(self) -> Tensor:
        """Of every frame: that of the frames ahead is theirs again when their own chunk comes."""
        drawn = self["noise"]
        return torch.cat([drawn[0], *drawn[1:, AHEAD:]])

    def conditions(self, content: Tensor) -> Tensor:
        return self.network.conditioned(content[None], self.network.target(self["spk_embedding"][None]))


@pytest.fixture(scope="module", params=["120ms", "40ms"])
def golden(shared: Path, request: pytest.FixtureRequest) -> Golden:
    folder = shared / "fixtures/meanvc2_dit"
    config = json.loads((folder / "config.json").read_text())
    source = from_meanvc(load_file(folder / "model.safetensors"))
    network = (
        cast(ConverterNetwork, build(ConverterNetwork, *source, "MeanVC 2"))
        .eval()
        .at(config["chunk_sizes"][request.param])
    )
    with np.load(folder / "io.npz") as arrays:
        io = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Golden(network, io, request.param, config["measured"][f"{request.param}_late_start_offset"])


class Stream:
    """Calls of one chunk, the content ahead included, as the original makes them."""

    def __init__(self, golden: Golden, noise: Tensor, conditions: Tensor) -> None:
        self.chunk, self.conditions = golden.chunk, conditions
        self.solver = golden.network.solver(noise=noise)
        self.arena = Arena(self.solver, 1)
        self.phase = AHEAD - self.chunk
        self.next = self.phase
        self.call()

    def call(self, stop: int = OPEN) -> Tensor:
        """The next chunk of mel frames, [chunk, mel]."""
        given = torch.zeros(1, self.chunk, self.conditions.shape[2])
        first = max(self.next, 0)
        new = self.conditions[:, first : self.next + self.chunk]
        given[:, first - self.next : first - self.next + new.shape[1]] = new
        place = Place(torch.tensor([self.next]), torch.tensor([stop]), self.chunk, self.phase)
        self.next += self.chunk
        return self.solver.step(Frames(given, place), self.arena.state, torch.tensor([0])).data[0]

    def kept(self, layer: int, name: str, frames: int) -> Tensor:
        """What the ring of a layer holds, in the order of time, and keys turned back: [h, n, e]."""
        stop = self.next - AHEAD
        index = torch.arange(stop - frames, stop)
        ring = self.arena.state["layers"][f"{layer}"]["attention"][name][:, :, index % frames]
        return (Rotary(interleaved=True)(ring, -index[None]) if name == "k" else ring)[0]


def test_timbre(golden: Golden) -> None:
    with torch.inference_mode():
        tokens = golden.network.timbre
        torch.testing.assert_close(tokens.get_submodule("keys")(golden["spk_embedding"]), golden["gtm_k"])
        torch.testing.assert_close(tokens.get_submodule("values")(golden["spk_embedding"]), golden["gtm_v"])
        heard = golden.conditions(golden.io["120ms_cond_100hz"][:16].float())[0, :, :64]
    torch.testing.assert_close(heard, golden["timbre_first_chunk"], atol=2e-5, rtol=0)


@torch.inference_mode()
def test_a_stream_to_its_end(golden: Golden) -> None:
    """The original repeats the last frame to fill a chunk and what is ahead of it; so is the input here."""
    content, chunk, flushed = golden["cond_100hz"], golden.chunk, golden["mel_flush"]
    calls = len(golden["mel"])
    padding = content[-1:].expand((calls + len(flushed)) * chunk + AHEAD - len(content), -1)
    stream = Stream(golden, golden.noise, golden.conditions(torch.cat([content, padding])))
    mel = torch.stack([stream.call() for _ in range(calls)])
    torch.testing.assert_close(mel, golden["mel"], atol=TOLERANCE, rtol=0)
    if golden.name == "40ms":  # one more whole chunk, with the three frames ahead that are left
        rest = stream.call(stop=len(content))
        torch.testing.assert_close(rest, flushed[0], atol=TOLERANCE, rtol=0)
        return
    torch.testing.assert_close(stream.call(), flushed[0], atol=TOLERANCE, rtol=0)
    last_k, last_v = golden["final_k_layer0"], golden["final_v_layer3"]
    past = [n * chunk for n in golden.network.config.past]  # the original keeps a chunk more than it looks at
    torch.testing.assert_close(stream.kept(0, "k", past[0]), last_k[:, -past[0] :], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(stream.kept(3, "v", past[3]), last_v[:, -past[3] :], atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_the_original_forgets_all_after_4000_frames(golden: Golden) -> None:
    """As a fresh stream does, whose start noise goes on; ours has no need to."""
    calls, chunk, conditions = len(golden["mel_late"]), golden.chunk, golden.conditions(golden["cond_100hz"])
    before = -(-(4000 - golden.late) // chunk)
    assert 0 < before < calls
    first = Stream(golden, golden.noise, conditions)
    mel = [first.call() for _ in range(before)]
    second = Stream(golden, golden.noise[before * chunk :], conditions[:, before * chunk :])
    mel += [second.call() for _ in range(calls - before)]
    torch.testing.assert_close(torch.stack(mel), golden["mel_late"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 3])
@torch.inference_mode()
def test_the_offline_loop(golden: Golden, steps: int) -> None:
    content = golden["offline_loop_bn_25hz"]
    content = interpolate(content.T[None], scale_factor=4, mode="linear", align_corners=True)[0].T
    solver = golden.network.solver(Sampling(steps, 0.0, True), golden["offline_loop_noise"])
    mel = solver(Frames.whole(golden.conditions(content))).data[0]
    torch.testing.assert_close((mel.T + 1) / 2, golden[f"offline_loop_mel01_{steps}step"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 3])
@torch.inference_mode()
def test_the_training_mask(golden: Golden, steps: int) -> None:
    """The whole utterance in one pass for every step, which is what training differentiates."""
    z = golden["offline_noise"][None]
    conditions = golden.conditions(golden["cond_100hz"][: z.shape[1]])
    times = torch.linspace(1, 0, steps + 1)
    for t, r in zip(times[:-1, None], times[1:, None], strict=True):
        z = z - (t - r) * golden.network(z, t, r, conditions, torch.tensor([z.shape[1]]))
    torch.testing.assert_close(z[0], golden[f"offline_full_{steps}step"], atol=TOLERANCE, rtol=0)
