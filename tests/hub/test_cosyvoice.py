"""Folders of CosyVoice to checkpoints: what is made of a whole one, and what is told of one that is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from speech.errors import SpeechError
from speech.hub import find, models
from speech.hub.checkpoint import load_folder
from speech.hub.cosyvoice.folder import _settings, convert, needed
from speech.tts.voice import read_voices
from tests.hub.foreign import saved
from tests.hub.public import CODES, YAML, second, third_version
from tests.hub.server import serving
from tests.hub.test_archive import Creates
from tests.hub.test_download import client
from tests.tts.test_import_lm import foreign
from tests.vocoder.public import public_hift

OURS = ["README.md", "config.yaml", "model.safetensors", "tokenizer.json"]
Tensors = dict[str, Any]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the ONNX exporter


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    return second(tmp_path_factory.mktemp("public") / "CosyVoice2-0.5B", shared / "fixtures")


@pytest.fixture
def folder(public: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(public, tmp_path / "model")


def spoil(path: Path, change: Callable[[Tensors], Tensors]) -> None:
    torch.save(change(torch.load(path, weights_only=True)), path)


def refused(folder: Path, message: str) -> None:
    """The import fails with one sentence and leaves nothing behind."""
    target = folder.with_name("made")
    with pytest.raises(SpeechError, match=message) as caught:
        convert(folder, target)
    assert "\n" not in str(caught.value)
    assert not [path for path in folder.parent.iterdir() if "made" in path.name]


def test_a_whole_folder(public: Path, tmp_path: Path) -> None:
    made = load_folder(convert(public, tmp_path / "made"))
    assert sorted(path.name for path in made.folder.iterdir()) == OURS
    config = made.config
    assert (config.lm.vocabulary.codes, config.flow.vocabulary, config.text, config.instruction) == (
        243,
        729,
        "pairs",
        "",
    )
    assert (config.lm.decoder.heads, config.flow.estimator.head_dim, config.flow.context.chunk) == (4, 32, 25)
    assert (config.mel.high, config.vocoder.causal) == (8000.0, False)
    lm = torch.load(public / "llm.pt", weights_only=True)
    assert torch.equal(made.model.get_parameter("lm.head.weight"), lm["llm_decoder.weight"])
    assert "CosyVoice2-0.5B" in (made.folder / "README.md").read_text()


def test_weights_keep_their_precision_and_the_card_its_text(folder: Path) -> None:
    spoil(folder / "llm.pt", lambda t: {k: v.half() if isinstance(v, torch.Tensor) else v for k, v in t.items()})
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# It speaks\n")
    made = convert(folder, folder.with_name("made"))
    weights = load_file(made / "model.safetensors")
    assert (weights["lm.head.weight"].dtype, weights["flow.mu.weight"].dtype) == (torch.float16, torch.float32)
    assert models.read_card(made / "README.md")[0] == "apache-2.0"


@pytest.mark.parametrize(
    ("name", "purpose"),
    [
        ("llm.pt", r"llm\.pt in \S+model, the language model"),
        ("flow.pt", r"flow\.pt in \S+model, the flow"),
        ("hift.pt", r"hift\.pt in \S+model, the vocoder"),
        ("CosyVoice-BlankEN/merges.txt", r"vocab\.json with \S+merges\.txt in \S+model, the tokenizer of text"),
        ("speech_tokenizer_v2.pt", r"speech_tokenizer_v2\.onnx in \S+model, the speech tokenizer, which takes voices"),
        ("campplus.bin", r"campplus\.onnx in \S+model, the speaker encoder"),
    ],
)
def test_a_missing_part_is_named(folder: Path, name: str, purpose: str) -> None:
    (folder / name).unlink()
    refused(folder, purpose + ".*but it is missing: take the whole folder")


@pytest.mark.parametrize("name", ["llm.pt", "hift.pt", "campplus.bin", "speech_tokenizer_v2.pt"])
def test_a_part_that_is_cut_short_is_named(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    refused(folder, rf"{name} to be a whole torch file, it is damaged")


@pytest.mark.parametrize("name", ["llm.pt", "speech_tokenizer_v2.pt", "spk2info.pt"])
def test_a_part_that_wants_to_execute_is_refused(folder: Path, name: str) -> None:
    proof = folder / "executed"
    (folder / name).write_bytes(saved({"w": torch.zeros(2), "x": Creates(proof)}))
    refused(folder, "nothing was executed")
    assert not proof.exists()


def test_nothing_in_the_yaml_is_executed(tmp_path: Path) -> None:
    proof, path = tmp_path / "executed", tmp_path / "cosyvoice2.yaml"
    attack = f'x: !!python/object/apply:os.mkdir ["{proof}"]\n'
    yaml.unsafe_load(attack)  # the attack is real
    proof.rmdir()
    path.write_text(f'{attack}y: !apply:os.mkdir ["{proof}"]\n{YAML}')
    assert _settings(tmp_path) == (32, 25) and not proof.exists()


@pytest.mark.parametrize("text", ["a: [", "\x00", "a: 2020-13-45", "[" * 1200])
def test_a_damaged_yaml_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "cosyvoice2.yaml").write_text(text)
    with pytest.raises(SpeechError, match=r"cosyvoice2\.yaml to be a whole YAML file"):
        _settings(tmp_path)


@pytest.mark.parametrize("text", ["", "7", "flow: &a [*a]", "flow: {decoder: [estimator]}\nchunk_size: -3"])
def test_a_yaml_that_says_nothing_leaves_the_usual(tmp_path: Path, text: str) -> None:
    assert _settings(tmp_path) == (64, 25)
    (tmp_path / "cosyvoice3.yaml").write_text(text)
    assert _settings(tmp_path) == (64, 25)


def _cut(name: str, rows: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: tensors[name][:rows].clone()}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("flow.pt", _cut("input_embedding.weight", 242), "knows the 243 codes of the language model, it knows 242"),
        ("hift.pt", lambda t: public_hift(causal=True), "hift.pt of version 3"),
        ("hift.pt", lambda t: public_hift(causal=False), "80 mel bands of the flow, they have 6 and 80"),
        ("llm.pt", _cut("llm.model.model.embed_tokens.weight", 200), "tokenizer of at most 200 ids"),
        ("campplus.bin", _cut("xvector.dense.linear.weight", 9), "vectors of 192 values, .* encoder gives 9"),
        ("flow.pt", lambda t: {"weight": torch.zeros(2)}, "flow.pt"),
        ("campplus.bin", lambda t: {**t, "more.weight": torch.zeros(2)}, "more is not known"),
    ],
)
def test_parts_that_do_not_fit_are_told(
    folder: Path, name: str, change: Callable[[Tensors], Tensors], message: str
) -> None:
    spoil(folder / name, change)
    refused(folder, message)


def test_versions_do_not_mix(folder: Path) -> None:
    torch.save(foreign(3, text=700, codes=CODES), folder / "llm.pt")
    (folder / "CosyVoice-BlankEN" / "config.json").write_text('{"hidden_size": 16, "num_attention_heads": 4}')
    refused(folder, r"one version .* llm\.pt of version 3, flow\.pt of version 2")
    (folder / "CosyVoice-BlankEN" / "config.json").write_text("{")
    refused(folder, r"config\.json to be whole JSON")


def test_the_tokenizers_codes_are_those_of_the_language_model(folder: Path, shared: Path) -> None:
    shutil.copy(shared / "fixtures" / "s3tokenizer_v2" / "speech_tokenizer_v2.pt", folder)
    refused(folder, "speech tokenizer with the 243 codes of the language model, it has 6561")


def test_preset_voices(folder: Path) -> None:
    vector, mel = torch.randn(1, 192), torch.randn(1, 21, 80)
    codes, ids = torch.randint(CODES, (1, 11), dtype=torch.int32), torch.tensor([[5, 6, 7]], dtype=torch.int32)
    prompted = {
        "prompt_text": ids,
        "prompt_text_len": torch.tensor([3]),
        "llm_prompt_speech_token": codes,
        "flow_prompt_speech_token": codes,
        "prompt_speech_feat": mel,
        "llm_embedding": vector,
        "flow_embedding": vector,
    }
    torch.save({"plain": {"embedding": vector, "note": "x"}, "prompted": prompted}, folder / "spk2info.pt")
    voices = read_voices(convert(folder, folder.with_name("made")) / "voices.safetensors")
    assert list(voices) == ["plain", "prompted"] and not len(voices["plain"].codes)
    voice = voices["prompted"]
    assert torch.equal(voice.codes, codes[0, :10].long()) and torch.equal(voice.mel, mel[0, :20])
    assert voice.text.tolist() == [5, 6, 7] and torch.equal(voice.speaker, vector[0])


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ({}, "'x' has none"),
        ({"embedding": torch.randn(1, 9)}, "expected a voice of this model .*, 'x' is of another"),
        ({"embedding": torch.randn(192)}, "'x' has none"),
        (torch.zeros(3), "groups of tensors"),
    ],
)
def test_preset_voices_that_do_not_fit(folder: Path, voice: Any, message: str) -> None:
    torch.save({"x": voice}, folder / "spk2info.pt")
    refused(folder, message)


def test_the_third_version(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = third_version(tmp_path / "model")
    made = load_folder(convert(folder, tmp_path / "made"))
    assert sorted(path.name for path in made.folder.iterdir()) == sorted(
        [*OURS, "campplus.onnx", "speech_tokenizer.onnx"]
    )
    assert made.config.instruction.endswith("<|endofprompt|>") and made.config.mel.high is None
    assert made.config.vocoder.causal and made.config.lm.vocabulary.codes == 9
    shutil.rmtree(tmp_path / "made")
    (folder / "campplus.onnx").write_bytes((folder / "campplus.onnx").read_bytes()[:200])
    refused(folder, r"campplus\.onnx to be a whole ONNX model")
    os.replace(folder / "speech_tokenizer_v3.onnx", folder / "speech_tokenizer_v2.onnx")
    refused(folder, r"speech_tokenizer_v2\.onnx of version 2")


def test_a_folder_is_converted_once(folder: Path, cache: Path) -> None:
    assert find.find(folder) is None
    with pytest.raises(SpeechError, match=r"speech models import \S+model"):
        models.info(folder)
    made = find.locate(folder)
    assert made.parent == cache / find.LAYOUT / "imports" and find.locate(folder) == find.find(folder) == made
    info = models.info(folder)
    assert (info.family, info.sample_rate, info.voices, info.heads) == ("synthesiser", 24000, (), ())
    assert info.parameters == sum(p.numel() for p in load_folder(made).model.parameters())
    assert str(made) in {entry.name for entry in models.list_models()}
    torch.save({"anna": {"embedding": torch.randn(1, 192)}}, folder / "spk2info.pt")
    assert models.import_model(folder) != made and models.info(folder).voices == ("anna",)


def test_fetched_from_the_hub_without_what_is_not_needed(public: Path, tmp_path: Path) -> None:
    name = "FunAudioLLM/CosyVoice2-0.5B"
    hub = shutil.copytree(public, tmp_path / "hub" / name)
    (hub / "flow.decoder.estimator.fp32.onnx").write_bytes(b"large")
    (hub / "CosyVoice-BlankEN" / "model.safetensors").write_bytes(b"large")
    with serving(tmp_path / "hub") as (endpoint, requests), client(endpoint, tmp_path) as ask:
        made = Path(str(ask(("pull", name))[f"pull {name}"]))
    assert sorted(path.name for path in made.iterdir()) == OURS
    assert models.info(made).family == "synthesiser"
    fetched = {line.rpartition("/")[2] for line in requests if line.startswith(f"GET {name}/resolve")}
    assert fetched == {path.name for path in public.rglob("*") if path.is_file()}


def test_what_is_needed() -> None:
    both = ["llm.pt", "flow.pt", "hift.pt", "CosyVoice-BlankEN/vocab.json", "CosyVoice-BlankEN/merges.txt"]
    both += ["speech_tokenizer_v2.onnx", "campplus.onnx"]
    assert needed([*both, "x.zip"], "a/b") == both
    assert needed([*both, "spk2info.pt"], "a/b")[-1] == "spk2info.pt"
    with pytest.raises(SpeechError, match=r"hift\.pt in a/b, the vocoder"):
        needed([name for name in both if name != "hift.pt"], "a/b")
