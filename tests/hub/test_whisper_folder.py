"""Published Whispers as checkpoint folders: from files, folders and the hub to a recogniser, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.errors import SpeechError
from speech.hub import models
from speech.hub.checkpoint import load_folder
from speech.hub.download import select
from speech.hub.load import load, load_recogniser
from speech.hub.whisper.weights import load_whisper
from tests.asr.whisper.reference import causal, openai
from tests.asr.whisper.small import SIZES, hugging_face, published
from tests.asr.whisper.toy import letter_tokenizer
from tests.hub.server import serving
from tests.hub.test_download import client

DIMS = {"n_audio_head": 3, "n_text_head": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """A Whisper with the vocabulary of English ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "vocab_size", 51864)
        return published()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `gpt2.tiktoken`."""
    folder = tmp_path_factory.mktemp("words")
    letter_tokenizer(folder)
    return folder / "gpt2.tiktoken"


@pytest.fixture
def file(tmp_path: Path, tensors: dict[str, Tensor], words: Path) -> Path:
    """A causal Whisper with chunks of 80 ms, its vocabulary beside it."""
    settings = {"gran": 4, "rank": 2, "extra_gran_blocks": 1}
    path = tmp_path / "published" / "base_80.pt"
    path.parent.mkdir()
    torch.save({"dims": DIMS, "state_dict": causal(openai(tensors), 2), "cfg": settings}, path)
    shutil.copy(words, path.parent)
    return path


def folder_of(path: Path, tensors: dict[str, Tensor], words: Path) -> Path:
    """A Hugging Face folder."""
    hugging_face(path, tensors, vocab_size=51864)
    (path / "tokenizer.json").write_text(letter_tokenizer(words.parent).to_json())
    (path / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n\nIt listens.\n")
    return path


def test_a_causal_file_is_converted_once_and_listens(file: Path, cache: Path) -> None:
    recogniser = load(file, device="cpu")
    assert isinstance(recogniser, WhisperRecogniser)
    assert (recogniser.chunks, recogniser.causal) == ([80], True)
    (folder,) = (cache / "v1" / "imports").iterdir()
    made = (folder / "model.safetensors").stat().st_mtime_ns
    again = load(str(file), device="cpu", chunk=80, language="en", beam=2)
    assert isinstance(again, WhisperRecogniser) and again.request.beam == 2
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    stored = load_folder(folder).model.state_dict()
    assert all(torch.equal(stored[name], x) for name, x in load_whisper(file).state_dict().items())
    info = models.info(file)
    assert (info.family, info.chunks, info.vocabulary, info.sample_rate) == ("whisper", (80,), 51864, 16000)
    transcript = recogniser.transcribe(0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32), 16000)
    assert transcript.duration == 1.0


def test_a_hugging_face_folder(tmp_path: Path, tensors: dict[str, Tensor], words: Path) -> None:
    source = folder_of(tmp_path / "hf", {name: x.half() for name, x in tensors.items()}, words)
    folder = models.import_model(source, tmp_path / "made")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.yaml",
        "model.safetensors",
        "tokenizer.json",
    ]
    recogniser = load_recogniser(folder, "cpu")
    assert isinstance(recogniser, WhisperRecogniser) and recogniser.chunks == [] and not recogniser.causal
    assert recogniser.tokenizer.decode(recogniser.tokenizer.encode(" a b")) == " a b"
    info = models.info(folder)
    assert (info.licence, info.summary, info.chunks) == ("mit", "It listens.", ())
    weights = (folder / "model.safetensors").stat().st_size
    assert weights < 2.2 * sum(x.numel() for x in tensors.values())  # half precision stays


def test_options_of_other_recognisers_are_refused(file: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"look_ahead": 80},
            r"chunk, language, task, beam, prompt for the recogniser \S+, got look_ahead: leave that out",
        ),
        ({"chunk": 300}, r"trained for \(80 ms\), got 300 ms"),
        ({"language": "tlh"}, "English"),
        ({"voice": "anna"}, "got voice: leave that out"),
    ]
    for options, says in cases:
        with pytest.raises(SpeechError, match=says):
            load(file, device="cpu", **options)


def test_what_is_not_whole_is_refused(file: Path, tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    (file.parent / "gpt2.tiktoken").unlink()
    with pytest.raises(SpeechError, match=r"a \.pt file has no vocabulary in it"):
        models.import_model(file, tmp_path / "made")
    weights = openai(tensors)
    weights["decoder.ln.gain"] = weights.pop("decoder.ln.weight")
    torch.save({"dims": DIMS, "model_state_dict": weights}, tmp_path / "wrong.pt")
    with pytest.raises(SpeechError, match=r"decoder\.ln\.weight is missing, decoder\.ln\.gain is not known"):
        models.import_model(tmp_path / "wrong.pt", tmp_path / "made")
    assert not (tmp_path / "made").exists()
    with pytest.raises(SpeechError, match="does not exist"):
        load(tmp_path / "none.pt")
    with pytest.raises(SpeechError, match=r"speech models import .*base_80\.pt"):
        models.info(file)


def test_from_the_hub(tmp_path: Path, tensors: dict[str, Tensor], words: Path) -> None:
    hub = tmp_path / "hub"
    (hub / "openai").mkdir(parents=True)
    folder_of(hub / "openai/whisper-small", tensors, words)
    other = folder_of(hub / "openai/other", tensors, words)
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with serving(hub) as (endpoint, requests), client(endpoint, tmp_path / "home") as ask:
        answers = ask(*((verb, f"openai/{name}") for name in ("whisper-small", "other") for verb in ("pull", "info")))
    told = answers["info openai/whisper-small"]
    assert isinstance(told, dict) and (told["family"], told["licence"]) == ("whisper", "mit")
    refused = answers["pull openai/other"]
    assert isinstance(refused, dict) and "it holds another model" in str(refused["error"])
    assert not any(line.startswith("GET openai/other") and line.endswith(".safetensors") for line in requests)


def test_which_files_are_chosen() -> None:
    present = ["README.md", "config.json", "merges.txt", "model.safetensors", "pytorch_model.bin", "vocab.json"]
    words = ["vocab.json", "merges.txt"]
    assert select("a/b", present) == ["config.json", *words, "model.safetensors", "README.md"]
    assert select("a/b", [*present, "tokenizer.json"])[:3] == ["config.json", "tokenizer.json", "model.safetensors"]
    assert "generation_config.json" in select("a/b", [*present, "generation_config.json"])
    with pytest.raises(SpeechError, match="a/b"):
        select("a/b", ["config.json", "model.safetensors"])
