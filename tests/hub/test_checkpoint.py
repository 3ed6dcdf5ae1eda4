from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from speech.asr.model import FastConformer
from speech.errors import SpeechError
from speech.hub import checkpoint
from speech.hub.checkpoint import load_folder, save, tokenizer_named
from tests.asr.small import small_model


@pytest.fixture(scope="module")
def made() -> FastConformer:
    return small_model()


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("the\ncat\n")
    return path


@pytest.fixture
def folder(tmp_path: Path, made: FastConformer, vocabulary: Path) -> Path:
    return save(tmp_path / "model", made, "# A card\n", tokenizer_named(vocabulary), dtype=torch.float32)


def test_round_trip(made: FastConformer, folder: Path) -> None:
    loaded = load_folder(folder)
    assert loaded.family == "fastconformer"
    assert loaded.config == made.config
    assert loaded.tokenizer == folder / "vocab.txt"
    assert (folder / "README.md").read_text() == "# A card\n"
    assert not loaded.model.training
    assert all(torch.equal(tensor, made.state_dict()[name]) for name, tensor in loaded.model.state_dict().items())
    samples, lengths = torch.randn(1, 8000), torch.tensor([8000])
    with torch.inference_mode():
        assert torch.equal(loaded.model(samples, lengths)[0], made(samples, lengths)[0])


def test_a_sentencepiece_model_keeps_its_name(tmp_path: Path, made: FastConformer) -> None:
    (tmp_path / "bpe.model").write_bytes(b"pieces")
    folder = save(tmp_path / "model", made, "", tokenizer_named(tmp_path / "bpe.model"))
    assert load_folder(folder).tokenizer == folder / "tokenizer.model"
    assert (folder / "tokenizer.model").read_bytes() == b"pieces"


def test_half_precision_spares_the_buffers(tmp_path: Path, made: FastConformer, vocabulary: Path) -> None:
    folder = save(tmp_path / "half", made, "", tokenizer_named(vocabulary))
    stored = load_file(folder / "model.safetensors")
    parameters = dict(made.named_parameters())
    assert {t.dtype for n, t in stored.items() if n in parameters} == {torch.float16}
    assert torch.equal(stored["mel.bank"], made.mel.bank)
    loaded = load_folder(folder).model
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    narrow = load_folder(folder, dtype=torch.bfloat16).model
    assert {p.dtype for p in narrow.parameters()} == {torch.bfloat16}
    assert {b.dtype for b in narrow.buffers()} == {torch.float32}


def test_replaces_a_checkpoint_but_nothing_else(tmp_path: Path, made: FastConformer, vocabulary: Path) -> None:
    target = save(tmp_path / "model", made, "old", tokenizer_named(vocabulary))
    save(target, made, "new", tokenizer_named(vocabulary))
    assert (target / "README.md").read_text() == "new"
    (target / "thesis.doc").write_text("years of work")
    with pytest.raises(SpeechError, match="holds other files"):
        save(target, made, "newer", tokenizer_named(vocabulary))
    assert (target / "thesis.doc").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "vocab.txt"]


def test_a_failed_save_leaves_what_was_there(tmp_path: Path, made: FastConformer, vocabulary: Path) -> None:
    target = save(tmp_path / "model", made, "old", tokenizer_named(vocabulary))
    with pytest.raises(SpeechError, match="expected to write the checkpoint"):
        save(target, made, "new", tokenizer_named(tmp_path / "no tokenizer"))
    assert load_folder(target).model is not None
    assert (target / "README.md").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "vocab.txt"]


def test_only_known_families_are_saved(tmp_path: Path, vocabulary: Path) -> None:
    with pytest.raises(SpeechError, match="known family"):
        save(tmp_path / "model", nn.Linear(1, 1), "", tokenizer_named(vocabulary))


def _tensors(folder: Path, **changes: Tensor | None) -> None:
    path = folder / "model.safetensors"
    tensors: dict[str, Any] = load_file(path) | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ctc__out__bias": None}, "ctc.out.bias is missing$"),
        ({"stranger": torch.zeros(1)}, "stranger is not known$"),
        ({"ctc__out__bias": torch.zeros(3)}, r"ctc.out.bias has shape \[3\] instead of \[41\]$"),
        (
            {"ctc__out__bias": torch.zeros(41, dtype=torch.int32)},
            "ctc.out.bias holds torch.int32 instead of torch.float",
        ),
        ({f"x{i}": torch.zeros(1) for i in range(5)}, "x0 is not known, x1 is not known, x2 is not known, and 2 more$"),
    ],
)
def test_tensors_that_do_not_fit(folder: Path, changes: dict[str, Tensor | None], message: str) -> None:
    _tensors(folder, **changes)
    with pytest.raises(SpeechError, match=message):
        load_folder(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name a family of fastconformer, whisper, synthesiser.*, got None"),
        ("family: [fastconformer]", r"got \['fastconformer'\]"),
        ("family: parrot", "got 'parrot'"),
        ("family: [fastconformer", "plain YAML"),
        ("family: !!python/object/apply:os.getcwd []", "plain YAML"),
        ("\x00", "plain YAML"),
    ],
)
def test_configurations_that_cannot_be_read(folder: Path, text: str, message: str) -> None:
    (folder / "config.yaml").write_text(text)
    with pytest.raises(SpeechError, match=message):
        load_folder(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("heads", 0, "can be built"),
        ("heads", 3, "can be built"),
        ("dim", -4, "can be built"),
        ("contexts", [], "contexts of 0 frames or more.*got \\[\\]"),
        ("contexts", [[6, -2]], "contexts of 0 frames or more"),
        ("contexts", [[6, 1], [6, 3]], "multiple of look-ahead"),
        ("dim", "wide", "encoder.dim to be int, got 'wide'"),
        ("colour", 1, "got also colour"),
    ],
)
def test_configurations_that_cannot_be_built(folder: Path, key: str, value: Any, message: str) -> None:
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    tree["encoder"][key] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(SpeechError, match=message):
        load_folder(folder)


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "vocab.txt"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(SpeechError, match=name.replace(".", r"\.")):
        load_folder(folder)


@pytest.mark.parametrize("size", [0, 7, 200, -50])
def test_short_weights_are_named(folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(SpeechError, match=r"model\.safetensors.*cut short"):
        load_folder(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="is none"):
        load_folder(tmp_path / "nothing")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    tensors[name].view(-1)[-1] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(SpeechError, match=f"expected finite weights in .*NaN or infinity is in {re.escape(name)}"):
        load_folder(folder)


def test_a_model_much_larger_than_its_weights_is_not_built(folder: Path) -> None:
    config = folder / "config.yaml"
    tree = yaml.safe_load(config.read_text())
    tree["encoder"]["layers"] = 10**9
    config.write_text(yaml.safe_dump(tree))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "SPARE", 1 << 16)
        with pytest.raises(SpeechError, match="a much larger model than the weights are of"):
            load_folder(folder)


def test_a_pointer_instead_of_weights_is_named(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 9\n")
    with pytest.raises(SpeechError, match=r"a pointer of Git LFS.*git lfs pull"):
        load_folder(folder)
