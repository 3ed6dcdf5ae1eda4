"""`speech.load` for converters: checkpoint folders with their targets, folders of MeanVC, and what is not one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

import speech
from speech.errors import SpeechError
from speech.hub import models
from speech.hub.checkpoint import TARGETS, save
from speech.hub.load import load, load_converter, load_recogniser
from speech.vc.converter import Converter
from speech.vc.voice import pack_targets
from tests.asr.small import small_model as small_recogniser
from tests.sounds import said
from tests.vc.small import small_converter, voice


@pytest.fixture(scope="module")
def small() -> Converter:
    return small_converter()


@pytest.fixture(scope="module")
def folder(small: Converter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    card = "---\nlicense: apache-2.0\n---\n# small\n\nRandom weights for tests.\n"
    folder = tmp_path_factory.mktemp("model") / "small"
    return save(folder, small.model, card, {TARGETS: pack_targets(small._voices)}, dtype=None)


def test_a_checkpoint_converts_as_before(small: Converter, folder: Path, tmp_path: Path) -> None:
    x = voice(0.4)
    found = load(folder, "cpu")
    assert isinstance(found, speech.Converter) and found.targets == ["anna", "ben"]
    wanted = small.convert(x, sample_rate=16000).samples
    np.testing.assert_allclose(found.convert(x, sample_rate=16000).samples, wanted, atol=1e-4)
    soundfile.write(tmp_path / "friend.wav", said(1.2), 16000)
    other = load(folder, "cpu", target=tmp_path / "friend.wav", chunk=160, steps=1)
    assert isinstance(other, Converter)
    assert other.targets[0] == str(tmp_path / "friend.wav") and other.latency.total > found.latency.total
    assert load_converter(folder, target="ben").targets == ["ben", "anna"]


def test_version_2_is_read_again(tmp_path: Path) -> None:
    small = small_converter(second=True)
    folder = save(tmp_path / "second", small.model, "", {}, dtype=torch.float32)
    found = load_converter(folder, "cpu")
    assert found.model.config == small.model.config and found.targets == []


def test_what_is_known_of_it(folder: Path) -> None:
    info = models.info(folder)
    assert (info.family, info.targets, info.sample_rate, info.chunk) == ("converter", ("anna", "ben"), 16000, 80)
    assert info.licence == "apache-2.0" and info.parameters > 1000


def test_models_and_arguments_of_another_kind(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vocab.txt").write_text("the\n")
    listens = save(tmp_path / "asr", small_recogniser(), "", {"vocab.txt": tmp_path / "vocab.txt"})
    with pytest.raises(SpeechError, match=r"expected a converter, \S+asr is a recogniser"):
        load_converter(listens)
    with pytest.raises(SpeechError, match=r"expected a recogniser, \S+small is a converter"):
        load_recogniser(folder)
    with pytest.raises(SpeechError, match=r"target, chunk, steps for the converter \S+small, got look_ahead, voice"):
        load(folder, look_ahead=80, voice="anna")
    with pytest.raises(
        SpeechError, match=r"look_ahead, decoder, weights, cache for the recogniser \S+asr, got steps: leave that out"
    ):
        load(listens, steps=2)
    with pytest.raises(SpeechError, match="expected float32 for a converter"):
        load(folder, dtype=torch.bfloat16)
    for options, words in (
        ({"chunk": "80"}, "expected a number of milliseconds as chunk, got '80': correct it"),
        ({"steps": 2.5}, "expected a whole number as steps, got 2.5"),
        ({"target": ["anna"]}, r"expected a name or a path as target, got \['anna'\]"),
        ({"device": ["cpu"]}, "expected a device of cpu"),
    ):
        with pytest.raises(SpeechError, match=words):
            load(folder, **options)
    with pytest.raises(SpeechError, match=r"expected a number of milliseconds as look_ahead, got \[80\]"):
        load(listens, look_ahead=[80])  # type: ignore[call-overload]
    monkeypatch.setattr("speech.hub.find.BUNDLED", tmp_path)
    with pytest.raises(SpeechError, match="expected the bundled model 'vc' in this installation, it has none"):
        load("vc")


def public(folder: Path, fixtures: Path) -> Path:
    """A folder as MeanVC's, of the golden fixtures; the content features are cut to the encoder's width."""
    folder.mkdir()
    encoder = torch.load(fixtures / "u2pp_content_encoder" / "encoder.pt", weights_only=True)
    width = len(encoder["encoder.after_norm.weight"])
    network = load_file(fixtures / "meanvc1_dit" / "model.safetensors")
    speaker = len(network["timbre_encoder.vp_proj.weight"])
    for name, tensor in network.items():
        part = name.split("prompt_vp_encoders.")[-1]
        if "prompt_vp_encoders" in name:
            rows = slice(None) if ".w_1." in part else slice(width)
            columns = slice(width) if part.split(".")[-2] in ("linear_q", "linear_out", "w_1") else slice(None)
            tensor = tensor[rows] if tensor.dim() == 1 else tensor[rows, columns]
        if name == "input_embed.proj.weight":
            mel = tensor.shape[1] - speaker - 256
            tensor = torch.cat([tensor[:, : mel + width], tensor[:, mel + 256 :]], 1)
        network[name] = tensor.clone()
    save_file(network, folder / "model_200ms.safetensors")
    torch.save(encoder, folder / "fastu2++.pt")
    (folder / "vocos.pt").write_bytes((fixtures / "vocos_16k" / "vocos_state.pt").read_bytes())
    return folder


def test_a_folder_of_meanvc_is_imported(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    theirs = public(tmp_path / "MeanVC", shared / "fixtures")
    with pytest.raises(SpeechError, match=r"speech models import \S+MeanVC"):
        models.info(theirs)
    found = load_converter(theirs, "cpu")
    config = found.model.config
    assert (config.network.chunk, config.content.frame) == (20, 0.04)
    assert models.info(theirs).chunk == 200 and 0.25 < found.latency.total < 0.6
    with pytest.raises(SpeechError, match="no speaker encoder"):
        found.take_up(shared / "none.wav") if (shared / "none.wav").exists() else found.add_target("a", "b.wav")
    (theirs / "vocos.pt").unlink()
    with pytest.raises(SpeechError, match=r"expected vocos\.pt in \S+MeanVC, it is missing"):
        models.import_model(theirs, tmp_path / "again")
    (theirs / "model_160ms.safetensors").write_bytes(b"")
    with pytest.raises(SpeechError, match="expected one network"):
        models.import_model(theirs, tmp_path / "again")
