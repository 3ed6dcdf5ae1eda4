from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from speech.errors import SpeechError
from speech.hub import archive as module
from speech.hub.archive import Archive, read_tensors
from speech.hub.nemo.file import convert
from tests.hub.foreign import archive, member, saved


class Creates:
    """A pickle that creates a file where it is loaded carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def tar(path: Path, *entries: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for entry in entries:
            file.addfile(entry, io.BytesIO(b"x" * entry.size) if entry.isreg() else None)
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_are_read_by_name(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.nemo"
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        file.addfile(entry(".", tarfile.DIRTYPE))
        member(file, "./config.yaml", b"a: 1")
        member(file, "weights", b"0123456789")
    with Archive(path) as opened:
        assert opened.names == ["config.yaml", "weights"]
        assert opened.read("config.yaml", 100) == b"a: 1"
        weights = opened.open("weights")
        weights.seek(-3, os.SEEK_END)
        assert weights.read() == b"789"
        with pytest.raises(SpeechError, match="at most 9 bytes"):
            opened.read("weights", 9)
        with pytest.raises(SpeechError, match=r"to hold other, it holds config.yaml, weights"):
            opened.open("other")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (entry("../../evil"), "stay inside, got '../../evil'"),
        (entry("a/../../evil"), "stay inside"),
        (entry("/etc/evil"), "stay inside, got '/etc/evil'"),
        (entry("..\\evil"), "stay inside"),
        (entry("link", tarfile.SYMTYPE, "/etc/passwd"), "'link' is a link"),
        (entry("link", tarfile.LNKTYPE, "model_config.yaml"), "'link' is a link"),
        (entry("null", tarfile.CHRTYPE), "'null' is a link, a device"),
        (entry("pipe", tarfile.FIFOTYPE), "'pipe' is a link, a device"),
    ],
)
def test_unsafe_members_are_refused(tmp_path: Path, bad: tarfile.TarInfo, message: str) -> None:
    path = tar(tmp_path / "a.nemo", entry("model_config.yaml"), bad)
    with pytest.raises(SpeechError, match=message):
        convert(path, tmp_path / "made")
    assert [p.name for p in tmp_path.iterdir()] == ["a.nemo"]


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.nemo", *(entry(f"{i}") for i in range(module.MAX_MEMBERS + 1)))
    with pytest.raises(SpeechError, match="at most 1000 files"):
        Archive(path)


@pytest.mark.parametrize("compress", [False, True])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, compress: bool) -> None:
    header = entry("bomb", size=module.MAX_BYTES + 1).tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "a.nemo"
    path.write_bytes(gzip.compress(header) if compress else header)
    with pytest.raises(SpeechError, match="32 GiB"):
        Archive(path)


def _cut(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * share)]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    "damage", [_cut(0), _cut(0.001), _cut(0.3), _cut(0.7), lambda data: b"not an archive, only words. " * 99]
)
def test_damaged_archives_are_named(tmp_path: Path, mode: str, damage: Callable[[bytes], bytes]) -> None:
    path = archive(tmp_path / "a.nemo", mode=mode)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SpeechError, match=r"a\.nemo"):
        convert(path, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_missing_archive_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="does not exist"):
        Archive(tmp_path / "none.nemo")
    with pytest.raises(SpeechError, match="tar archive"):
        Archive(tmp_path)


@pytest.mark.parametrize("shape", ["torch", "raw", "inside"])
def test_a_pickle_that_wants_to_execute_is_refused(tmp_path: Path, shape: str) -> None:
    proof = tmp_path / "executed"
    bad = Creates(proof)
    data = (
        pickle.dumps(bad, protocol=2)
        if shape == "raw"
        else saved(bad if shape == "torch" else {"w": torch.zeros(2), "x": bad})
    )
    if shape == "torch":
        torch.load(io.BytesIO(data), weights_only=False)  # the attack is real ...
        assert proof.is_dir()
        proof.rmdir()
    path = tmp_path / "a.nemo"
    with tarfile.open(path, "w") as file:
        member(file, "model_weights.ckpt", data)
    with Archive(path) as opened, pytest.raises(SpeechError, match=r"(mkdir|more than tensors).*nothing was executed"):
        read_tensors(opened.open("model_weights.ckpt"), "model_weights.ckpt")
    assert not proof.exists()  # ... and does not come through


@pytest.mark.parametrize("value", [[torch.zeros(1)], {"state_dict": {"w": torch.zeros(1)}}, {1: torch.zeros(1)}, 7])
def test_only_flat_tensor_dicts_are_taken(value: Any) -> None:
    with pytest.raises(SpeechError, match="map names to tensors"):
        read_tensors(io.BytesIO(saved(value)), "weights")


@pytest.mark.parametrize("data", [b"", b"text", saved({"w": torch.zeros(9)})[:-40], saved({"w": torch.zeros(9)})[:300]])
def test_damaged_weights_are_named(data: bytes) -> None:
    with pytest.raises(SpeechError, match="weights"):
        read_tensors(io.BytesIO(data), "weights")
