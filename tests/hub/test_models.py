from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import speech
from speech.errors import SpeechError
from speech.hub import find, models
from speech.hub.checkpoint import load_folder
from speech.hub.load import load
from tests.asr.small import noise
from tests.hub.foreign import archive, configured, ctc_only, weights


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def parameters(recogniser: speech.Recogniser) -> list[torch.Tensor]:
    return [p.detach().to_dense() if p.is_mkldnn else p.detach() for p in recogniser.model.parameters()]


def test_a_nemo_file_is_converted_once(tmp_path: Path, cache: Path) -> None:
    path = archive(tmp_path / "small.nemo")
    first = load(path)
    (folder,) = (cache / find.LAYOUT / "imports").iterdir()
    assert folder.name.startswith("small-")
    made = (folder / "model.safetensors").stat().st_mtime_ns
    again = load(str(path))
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    assert all(torch.equal(a, b) for a, b in zip(parameters(first), parameters(again), strict=True))
    archive(path, configured(), weights(configured(), seed=1))
    other = load(path)
    assert not torch.equal(parameters(other)[0], parameters(first)[0])


def test_look_ahead_and_device(tmp_path: Path) -> None:
    folder = models.import_model(archive(tmp_path / "small.nemo"), tmp_path / "made")
    recogniser = load(folder, device="cpu", look_ahead=0)
    assert recogniser.look_ahead == 0
    samples = noise(1.0)
    assert recogniser.transcribe(samples, 16000) == load(folder).transcribe(samples, 16000, look_ahead=0)
    with pytest.raises(SpeechError, match="240, 0 ms, got 7"):
        load(folder, look_ahead=7)
    for device in ("gpu", "cuda:99", "meta:x"):
        with pytest.raises(SpeechError, match="device"):
            load(folder, device=device)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parrot", "got 'parrot': `speech models list`"),
        ("none.nemo", "none.nemo does not exist"),
        ("./none", "got './none'"),
        ("", "expected the name or the path of a model, got ''"),
        (None, "expected the name or the path of a model, got None"),
    ],
)
def test_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpeechError, match=message):
        load(name)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SpeechError, match=r"notes\.txt is neither"):
        load(tmp_path / "notes.txt")


def test_the_bundled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "BUNDLED", tmp_path)
    monkeypatch.setattr(models, "BUNDLED", tmp_path)
    with pytest.raises(SpeechError, match="in this installation, it has none"):
        load()
    models.import_model(archive(tmp_path / "small.nemo"), tmp_path / "asr")
    assert load().look_aheads == [240, 0]
    assert models.list_models()[0] == models.Entry("asr", "bundled", str(tmp_path / "asr"), models.info("asr").size)


def test_list(tmp_path: Path, cache: Path) -> None:
    known = {entry.name for entry in models.list_models()}
    assert set(models.PUBLIC) <= known
    folder = models.import_model(archive(tmp_path / "small.nemo"))
    hub = models.import_model(tmp_path / "small.nemo", find.cached_hub(models.PUBLIC[0]))
    entries = {entry.name: entry for entry in models.list_models()}
    assert entries.keys() == known | {str(folder)}
    assert entries[str(folder)].source == "imported"
    assert entries[models.PUBLIC[0]].path == str(hub)
    assert entries[models.PUBLIC[1]].path is None
    assert load(str(folder)).decoders == load(models.PUBLIC[0]).decoders


def test_info(tmp_path: Path) -> None:
    path = archive(tmp_path / "small.nemo", ctc_only())
    folder = models.import_model(path)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\ntags: [a]\n---\n\n# Small\n\nIt\nlistens.\n\nMore.\n")
    for name in (path, folder):
        info = models.info(name)
        assert info.parameters == sum(p.numel() for p in load_folder(folder).model.parameters())
        assert (info.look_aheads, info.heads, info.vocabulary, info.sample_rate) == ((240, 0), ("ctc",), 7, 16000)
        assert (info.licence, info.summary) == ("cc-by-4.0", "It listens.")
        assert info.size == sum(file.stat().st_size for file in folder.iterdir())
        assert info.to_dict()["path"] == str(folder)


def test_info_agrees_with_the_recogniser(tmp_path: Path) -> None:
    sliding = {"encoder__att_context_style": "regular", "encoder__att_context_size": [[6, 2], [6, 0]]}
    for changes in ({}, sliding):
        folder = models.import_model(archive(tmp_path / "small.nemo", configured(**changes)))
        recogniser, info = load(folder), models.info(folder)
        assert list(info.look_aheads) == recogniser.look_aheads
        assert list(info.heads) == recogniser.decoders


@pytest.mark.parametrize(
    ("text", "card"), [("", ("", "")), ("---\nlicense: [\n---\n# T\n", ("", "")), ("---\n- a\n---\nHi", ("", "Hi"))]
)
def test_odd_cards(tmp_path: Path, text: str, card: tuple[str, str]) -> None:
    (tmp_path / "README.md").write_text(text)
    assert models.read_card(tmp_path / "README.md") == card
    assert models.read_card(tmp_path / "missing.md") == ("", "")


def test_info_and_pull_name_what_they_want(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=f"speech models pull {models.PUBLIC[0]}"):
        models.info(models.PUBLIC[0])
    with pytest.raises(SpeechError, match="not: see `speech models list`"):
        models.info("parrot")
    with pytest.raises(SpeechError, match=r"speech models import .*small\.nemo"):
        models.info(archive(tmp_path / "small.nemo"))
    with pytest.raises(SpeechError, match="a hub name"):
        models.pull("asr")
    with pytest.raises(SpeechError, match="does not exist"):
        models.import_model(tmp_path / "none.nemo")


def test_info_of_a_damaged_folder_is_one_sentence(tmp_path: Path) -> None:
    folder = models.import_model(archive(tmp_path / "small.nemo"), tmp_path / "made")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(SpeechError, match="damaged or cut short"):
        models.info(folder)
    weights.unlink()
    with pytest.raises(SpeechError, match="is missing"):
        models.info(folder)


def test_import_does_not_overwrite_other_files(tmp_path: Path) -> None:
    target = tmp_path / "home"
    target.mkdir()
    (target / "letter.txt").write_text("dear all")
    with pytest.raises(SpeechError, match="holds other files"):
        models.import_model(archive(tmp_path / "small.nemo"), target)
    assert [path.name for path in target.iterdir()] == ["letter.txt"]


def test_lower_precision_recognises(tmp_path: Path) -> None:
    folder = models.import_model(archive(tmp_path / "small.nemo"), tmp_path / "made")
    transcript = load(folder, device="cpu", dtype=torch.bfloat16).transcribe(np.zeros(16000, np.float32), 16000)
    assert transcript.duration == 1.0


def test_importing_the_package_is_free() -> None:
    code = "import sys, speech; assert not {'torch', 'numpy', 'yaml'} & set(sys.modules); dir(speech)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=find.BUNDLED.parents[2])
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = speech.nonsense  # type: ignore[attr-defined]
    assert set(speech.__all__) <= set(dir(speech))
