"""Golden numbers of CosyVoice 2's vocoder, made by the original on a public checkpoint layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.hub.checkpoint import build
from speech.hub.cosyvoice.hift import from_public
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.vocoder.hift import HiFT


class Golden:
    """An imported vocoder and what the original made of the inputs."""

    def __init__(self, folder: Path) -> None:
        config, tensors = from_public(torch.load(folder / "hift.pt", weights_only=True))
        self.model: HiFT = build(HiFT, config, tensors, "hift.pt").eval()  # type: ignore[assignment]
        self.arrays = dict(np.load(folder / "io.npz"))

    def tensor(self, name: str) -> Tensor:
        """An array in float32."""
        return torch.from_numpy(self.arrays[name]).float()

    def samples(self, name: str) -> Frames:
        """A whole signal, [1, n]."""
        return Frames.whole(self.tensor(name)[None])

    def mel(self, name: str = "mel") -> Frames:
        """Whole mel frames, [1, t, features]."""
        return Frames.whole(self.tensor(name).T[None])

    def inject(self, name: str) -> None:
        """Let the source take the noise draws `name` [n, harmonics]."""
        self.model.source.noise = self.tensor(name).unflatten(0, (-1, self.model.hop)).transpose(1, 2).contiguous()

    def streamed(self, chunk: int, name: str) -> Tensor:
        """Mel frames to samples [n] by chunks of `chunk` frames."""
        driver = Driver(self.model, chunk, shape=(80,))
        return torch.cat([driver.push(self.mel(name).data[0]), driver.flush()])


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    return Golden(shared / "fixtures/cosyvoice2_hift")


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


def difference(got: Tensor, expected: Tensor) -> Tensor:
    """Absolute differences of tensors of one shape."""
    assert got.shape == expected.shape
    return (got - expected).abs()


def test_f0(golden: Golden) -> None:
    assert difference(golden.model.f0(golden.mel()).data[0], golden.tensor("f0")).max() < 1e-3


def test_source(golden: Golden) -> None:
    golden.inject("noise")
    y = golden.model.source(golden.samples("f0")).data[0]
    assert difference(y, golden.tensor("source")).max() < 3e-3


def test_wave(golden: Golden) -> None:
    golden.inject("noise")
    error = difference(golden.model(golden.mel()).data[0], golden.tensor("wave"))
    assert error.max() < 1e-2
    assert error.square().mean().sqrt() < 2e-3


def test_spectrum_of_the_source(golden: Golden) -> None:
    spectrum = golden.model.body.spectrum(golden.samples("source")).data[0]
    assert difference(spectrum.T, golden.tensor("source_stft")).max() < 1e-4


def test_output_of_the_last_convolution(golden: Golden) -> None:
    caught: list[Tensor] = []
    handle = golden.model.body.head.get_submodule("conv").register_forward_hook(lambda *a: caught.append(a[2].data))
    golden.model.body(golden.mel(), golden.samples("source"))
    handle.remove()
    assert difference(caught[0][0].T, golden.tensor("conv_post_out")).max() < 1e-4


def test_wave_of_a_given_source(golden: Golden) -> None:
    wave = golden.model.body(golden.mel(), golden.samples("given_source")).data[0]
    assert difference(wave, golden.tensor("wave_given_source")).max() < 5e-5


@pytest.mark.parametrize("chunk", [4, 10, 25])
def test_streams_equal_the_whole_and_so_do_their_joints(golden: Golden, chunk: int) -> None:
    """Beside the original, which begins its sines anew in every call and hides the joint under a cross-fade."""
    golden.inject("noise")
    whole, wave = golden.model(golden.mel("stream_mel")).data[0], golden.streamed(chunk, "stream_mel")
    assert difference(wave, whole).max() < 1e-5
    size = chunk * golden.model.hop
    joint = (torch.arange(1, len(wave)) - golden.model.first(0)) % size == 0
    jumps = wave.diff().abs()
    assert jumps[joint].max() <= jumps[~joint].max()
