"""Golden numbers of MeanVC's 16 kHz Vocos, made by the original on a public checkpoint layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.hub.checkpoint import build
from speech.hub.meanvc.vocos import from_public
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.vocoder.vocos import Vocos

Arrays = dict[str, Tensor]


@pytest.fixture(scope="module")
def model(shared: Path) -> Vocos:
    tensors = torch.load(shared / "fixtures/vocos_16k/vocos_state.pt", weights_only=True)
    return build(Vocos, *from_public(tensors), "vocos").eval()  # type: ignore[return-value]


@pytest.fixture(scope="module")
def arrays(shared: Path) -> Arrays:
    return {name: torch.from_numpy(x) for name, x in np.load(shared / "fixtures/vocos_16k/io.npz").items()}


def frames(mel: Tensor) -> Frames:
    """The network's input from mel frames [features, t] in +-1."""
    return Frames.whole((mel.T[None] + 1) / 2)


@torch.inference_mode()
def test_parts(model: Vocos, arrays: Arrays) -> None:
    backbone = model.get_submodule("backbone")(frames(arrays["mel"]))
    torch.testing.assert_close(backbone.data[0], arrays["backbone_out"], atol=5e-5, rtol=0)
    out = model.get_submodule("head.out")(backbone.data[0])
    torch.testing.assert_close(out, arrays["head_out"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("mel", "wave"), [(f"{v}mel", f"{v}{w}") for v, w in (("", "wave"), ("v1_", "offline_wave"))])
@torch.inference_mode()
def test_wave(model: Vocos, arrays: Arrays, mel: str, wave: str) -> None:
    torch.testing.assert_close(model(frames(arrays[mel])).data[0], arrays[wave], atol=2e-4, rtol=0)


@pytest.mark.parametrize(("version", "chunk"), [("v1", 20), ("v2", 12), ("v2", 1)])
def test_streams_equal_the_original_offline(model: Vocos, arrays: Arrays, version: str, chunk: int) -> None:
    """The original's streams, cross-faded, are off by 0.5 and more, and its last samples never come."""
    driver = Driver(model, chunk, shape=(80,))
    wave = torch.cat([driver.push(frames(arrays[f"{version}_mel"]).data[0]), driver.flush()])
    torch.testing.assert_close(wave, arrays[f"{version}_offline_wave"], atol=2e-4, rtol=0)
