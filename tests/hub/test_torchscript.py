"""TorchScript files give their weights, and run nothing."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from speech.errors import SpeechError
from speech.hub.meanvc.vocos import from_public
from speech.hub.torchscript import read_weights
from speech.vocoder.vocos import Vocos, VocosConfig

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, of TorchScript


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3)
        self.norm = nn.BatchNorm1d(2)
        self.sizes, self.names = [1, 2], {"a": 1.5}  # attributes of a program that are no weights
        self.register_buffer("short", torch.arange(3, dtype=torch.int16))
        self.register_buffer("none", torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) * self.sizes[0]


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([Part(), Part()])
        self.turned = nn.Linear(2, 3)
        self.turned.weight = nn.Parameter(torch.randn(2, 3).half().float().T)  # not contiguous

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class Creates:
    """A pickle that creates a folder where it is loaded carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    model, path = Whole(), tmp_path_factory.mktemp("script") / "whole.pt"
    torch.jit.script(model).save(str(path))
    return path, model.state_dict()


def rewritten(source: Path, path: Path, changes: dict[str, bytes | None], compression: int = 0) -> Path:
    """A copy of a zip file with other content of some members; None: without them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compression) as new:
        for info in old.infolist():
            data = changes.get(info.filename.partition("/")[2], old.read(info))
            if data is not None:
                new.writestr(info.filename, data)
    return path


def test_weights_come_under_their_names(scripted: tuple[Path, dict[str, Tensor]]) -> None:
    path, wanted = scripted
    got = read_weights(path)
    assert set(got) == set(wanted)
    for name, tensor in wanted.items():
        assert got[name].dtype == tensor.dtype and torch.equal(got[name], tensor), name
    got["turned.bias"].zero_()  # memory of their own, which may be written
    assert torch.equal(read_weights(path)["turned.bias"], wanted["turned.bias"])


def test_a_traced_vocoder_becomes_ours(tmp_path: Path) -> None:
    """A program with the public names of MeanVC's vocoder, traced."""
    config = VocosConfig(features=4, dim=6, hidden=8, layers=2, kernel=3, n_fft=8, hop=2)
    names = {"backbone.embed": nn.Conv1d(4, 6, 3), "backbone.norm": nn.LayerNorm(6), "head.out": nn.Linear(6, 10)}
    names["backbone.final_layer_norm"] = nn.LayerNorm(6)
    for i in range(2):
        block = nn.Module()
        block.gamma = nn.Parameter(torch.randn(6))
        block.dwconv, block.norm = nn.Conv1d(6, 6, 3, groups=6), nn.LayerNorm(6)
        block.pwconv1, block.pwconv2 = nn.Linear(6, 8), nn.Linear(8, 6)
        names[f"backbone.convnext.{i}"] = block
    root = nn.Module()
    for name, part in names.items():
        *parents, last = name.split(".")
        home = root
        for parent in parents:
            if not hasattr(home, parent):
                home.add_module(parent, nn.Module())
            home = home.get_submodule(parent)
        home.add_module(last, part)
    root.get_submodule("head").add_module("istft", nn.Module())
    root.get_submodule("head.istft").register_buffer("window", torch.hann_window(8))
    root.forward = lambda x: x + 1
    torch.jit.trace(root, torch.zeros(1)).save(str(tmp_path / "vocos.pt"))
    got, weights = from_public(read_weights(tmp_path / "vocos.pt"))
    assert got == config
    Vocos(got).load_state_dict(weights)


def test_plain_files_of_torch_are_read_too(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.randn(3)}
    torch.save(tensors, tmp_path / "plain.pt")
    torch.save({"model": tensors | {"step": 3}, "error": 0.1}, tmp_path / "grouped.pt")
    assert torch.equal(read_weights(tmp_path / "plain.pt")["a.weight"], tensors["a.weight"])
    grouped = read_weights(tmp_path / "grouped.pt", "model")
    assert list(grouped) == ["a.weight"] and torch.equal(grouped["a.weight"], tensors["a.weight"])
    with pytest.raises(SpeechError, match="a group of tensors 'state'"):
        read_weights(tmp_path / "grouped.pt", "state")


def test_nothing_is_executed(scripted: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    made = tmp_path / "made"
    path = rewritten(scripted[0], tmp_path / "evil.pt", {"data.pkl": pickle.dumps(Creates(made), protocol=2)})
    with pytest.raises(SpeechError, match=r"asks to run .*mkdir: refused, nothing was executed"):
        read_weights(path)
    assert not made.exists()


def test_damaged_and_other_files_are_told(scripted: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path = scripted[0]
    bad, whole = tmp_path / "bad.pt", path.read_bytes()
    with pytest.raises(SpeechError, match="readable, it is not: No such file"):
        read_weights(bad)
    bad.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpeechError, match="cut short or of another kind"):
        read_weights(bad)
    with zipfile.ZipFile(path) as archive:
        data = archive.read("whole/data.pkl")
    with pytest.raises(SpeechError, match="damaged or cut short"):
        read_weights(rewritten(path, bad, {"data.pkl": data[: len(data) // 2]}))
    with pytest.raises(SpeechError, match="damaged or cut short"):  # a storage shorter than its tensor
        read_weights(rewritten(path, bad, {"data/0": b"\0" * 4}))
    with pytest.raises(SpeechError, match="data/0 is missing"):
        read_weights(rewritten(path, bad, {"data/0": None}))
    with pytest.raises(SpeechError, match=r"data\.pkl is missing, packed or too large"):
        read_weights(rewritten(path, bad, {}, zipfile.ZIP_DEFLATED))


def test_a_frozen_program_has_lost_its_names(tmp_path: Path) -> None:
    torch.jit.freeze(torch.jit.script(Whole().eval())).save(str(tmp_path / "frozen.pt"))
    with pytest.raises(SpeechError, match="under their names, it holds none"):
        read_weights(tmp_path / "frozen.pt")
