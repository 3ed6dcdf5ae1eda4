"""Checkpoint folders: `model.safetensors`, `config.yaml`, the model card `README.md`, and what a family has besides."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from speech.errors import SpeechError
from speech.hub.archive import fault
from speech.hub.schema import from_tree, read_yaml, to_tree


@dataclass(frozen=True)
class Family:
    """A kind of model. home: the module that holds its classes, which is imported when a model of it is read.

    files: what lies beside the weights. Of each tuple of names one file is needed; `optional` ones may be there.
    """

    home: str
    config_name: str
    model_name: str
    files: tuple[tuple[str, ...], ...] = ()
    optional: tuple[str, ...] = ()

    @cached_property
    def config(self) -> type[Any]:
        """The class of its configuration."""
        return getattr(import_module(self.home), self.config_name)

    @cached_property
    def model(self) -> type[nn.Module]:
        """The class of its module, built from a configuration."""
        return getattr(import_module(self.home), self.model_name)

    @property
    def known(self) -> set[str]:
        """Names of all files that a folder of this family may hold."""
        return {WEIGHTS, CONFIG, CARD, *self.optional, *(name for names in self.files for name in names)}


SPARE = 1 << 26  # numbers that a model may hold beside its weights while it is built, such as tables of positions
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.yaml", "README.md"
TOKENIZERS = ("tokenizer.model", "vocab.txt")  # SentencePiece, WordPiece
TEXT_TOKENIZER, VOICES = "tokenizer.json", "voices.safetensors"  # byte pairs
TARGETS = "targets.safetensors"
SPEECH_TOKENIZER, SPEAKER_ENCODER = "speech_tokenizer.onnx", "campplus.onnx"

FAMILIES: Mapping[str, Family] = {
    "fastconformer": Family("speech.asr.model", "FastConformerConfig", "FastConformer", files=(TOKENIZERS,)),
    "whisper": Family("speech.asr.whisper.model", "WhisperConfig", "Whisper", files=((TEXT_TOKENIZER,),)),
    "synthesiser": Family(
        "speech.tts.model",
        "SynthesiserConfig",
        "SynthesiserModel",
        optional=(TEXT_TOKENIZER, VOICES, SPEECH_TOKENIZER, SPEAKER_ENCODER),
    ),
    "converter": Family("speech.vc.model", "ConverterModelConfig", "ConverterModel", optional=(TARGETS,)),
}
"""Model families by the name that `config.yaml` gives them."""

KNOWN = set[str]().union(*(family.known for family in FAMILIES.values()))
"""Names of all files that a checkpoint folder may hold."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint folder. model: in evaluation mode; files: by name, what lies beside its weights."""

    folder: Path
    family: str
    config: Any
    model: nn.Module
    files: Mapping[str, Path]

    @property
    def tokenizer(self) -> Path:
        """The tokenizer file of a recogniser."""
        return next(self.files[name] for name in (*TOKENIZERS, TEXT_TOKENIZER) if name in self.files)


def save(
    folder: str | Path,
    model: nn.Module,
    card: str,
    files: Mapping[str, Path | bytes],
    dtype: torch.dtype | None = torch.float16,
) -> Path:
    """Write `model` (which has a `config` of a known family) as a checkpoint folder, whole or not at all.

    card: the text of README.md. files: by name, what else belongs to the family: a file to copy, or its content. dtype:
    the precision of the parameters, None for their own; buffers (filter banks, running statistics) are few and keep
    theirs.

    Raises:
        SpeechError: the folder holds something that is no checkpoint, or cannot be written, or a file is missing.
    """
    kind = type(model)
    name = next((n for n, f in FAMILIES.items() if (f.home, f.model_name) == (kind.__module__, kind.__name__)), None)
    if name is None:
        raise SpeechError(f"expected a model of a known family ({', '.join(FAMILIES)}), got {type(model).__name__}")
    _check_files(FAMILIES[name], files, str(folder))
    parameters = dict(model.named_parameters())
    tensors = {
        name: tensor.detach().to("cpu", dtype if name in parameters else None).contiguous()
        for name, tensor in model.state_dict().items()
    }
    count = str(sum(p.numel() for p in parameters.values()))
    with replacing(Path(folder)) as made:
        save_file(tensors, made / WEIGHTS, metadata={"format": "pt", "parameters": count})
        (made / WEIGHTS).chmod(0o644)  # safetensors makes files that only their owner can read
        text = yaml.safe_dump({"family": name, **to_tree(model.config)}, sort_keys=False, allow_unicode=True)
        (made / CONFIG).write_text(text, encoding="utf-8")
        (made / CARD).write_text(card, encoding="utf-8")
        for file, content in files.items():
            if isinstance(content, bytes):
                (made / file).write_bytes(content)
            else:
                shutil.copyfile(content, made / file)
    return Path(folder)


def tokenizer_named(path: str | Path) -> dict[str, Path]:
    """A SentencePiece model or a WordPiece `vocab.txt`, under the name that it has in a checkpoint folder."""
    return {TOKENIZERS[Path(path).suffix == ".txt"]: Path(path)}


def load_folder(folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Checkpoint:
    """Read a checkpoint folder. dtype: the precision of the parameters, float32 by default; buffers keep theirs.

    Raises:
        SpeechError: a file is missing or damaged, a key or a value of the configuration is wrong, or the tensors are
            not those of the configured model.
    """
    folder = Path(folder)
    family, config = read_config(folder)
    with _whole(folder / WEIGHTS) as path:
        tensors = load_file(path, device=str(device))
    files = {entry.name: entry for entry in folder.iterdir()}
    _check_files(FAMILIES[family], files, str(folder))
    model = build(FAMILIES[family].model, config, tensors, str(folder))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype or torch.float32)
    return Checkpoint(folder, family, config, model.eval(), files)


def read_config(folder: Path) -> tuple[str, Any]:
    """Family and configuration of a checkpoint folder."""
    if not folder.is_dir():
        raise SpeechError(f"expected a checkpoint folder, {folder} is none: check the path")
    path = _existing(folder / CONFIG)
    tree = read_yaml(path.read_bytes(), str(path))
    family = tree.pop("family", None) if isinstance(tree, dict) else None
    if not isinstance(family, str) or family not in FAMILIES:
        raise SpeechError(f"expected {path} to name a family of {', '.join(FAMILIES)}, got {family!r}")
    return family, from_tree(FAMILIES[family].config, tree, str(path))


def count_parameters(folder: Path) -> int:
    """How many parameters the weights of a checkpoint folder hold, by their header; 0 where it does not say."""
    with _whole(folder / WEIGHTS) as path, safe_open(path, framework="np") as file:
        count = (file.metadata() or {}).get("parameters", "")
    return int(count) if count.isdecimal() else 0


def _check_files(family: Family, files: Mapping[str, Any], source: str) -> None:
    for names in family.files:
        if not any(name in files for name in names):
            found = "found none" if len(names) == 1 else "found neither"
            raise SpeechError(f"expected {' or '.join(names)} in {source}, {found}: fetch the checkpoint again")


def build(kind: type[nn.Module], config: Any, tensors: dict[str, Tensor], source: str) -> nn.Module:
    """A module of `kind` with exactly these tensors, of which it becomes the owner. source: for messages.

    Raises:
        SpeechError: the configuration cannot be built, or tensors are missing, left over, of another shape or not
            finite.
    """
    try:
        with _Unfilled(2 * sum(tensor.numel() for tensor in tensors.values()) + SPARE):
            model = kind(config)
    except (ValueError, RuntimeError, TypeError, ArithmeticError, LookupError) as error:
        raise SpeechError(f"expected a configuration that can be built in {source}, it cannot: {error}") from error
    wanted = model.state_dict()
    faults = [f"{name} is missing" for name in wanted if name not in tensors]
    faults += [f"{name} is not known" for name in tensors if name not in wanted]
    faults += [
        f"{name} has shape {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    faults += [
        f"{name} holds {tensors[name].dtype} instead of {tensor.dtype}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].is_floating_point() != tensor.is_floating_point()
    ]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise SpeechError(
            f"expected the tensors of {source} to fit its configuration, but {', '.join(faults[:3])}{more}"
        )
    spoiled = [name for name, tensor in tensors.items() if not _finite(tensor)]
    if spoiled:
        raise SpeechError(
            f"expected finite weights in {source}, but NaN or infinity is in {', '.join(spoiled[:3])}: "
            "fetch the checkpoint again, or take an earlier one of its training"
        )
    model.load_state_dict(tensors, assign=True)
    return model


def _finite(tensor: Tensor) -> bool:
    """Whether all values are finite: a sum is not if one of them is not, and is made without a tensor of answers."""
    return not tensor.is_floating_point() or bool(tensor.sum(dtype=torch.float32).isfinite())


class _Unfilled(TorchFunctionMode):
    """Spares a model that is about to be loaded the drawing of random weights, which takes longer than reading them.

    most: numbers that it may hold. A configuration that asks for more, however many layers, is refused while it is
    built: a ValueError.
    """

    makes = (torch.empty, torch.zeros, torch.ones)
    draws = (Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self.draws:
            return args[0] if args else kwargs["tensor"]
        made = func(*args, **kwargs)
        if func in self.makes:
            self.left -= made.numel()
            if self.left < 0:
                raise ValueError("it asks for a much larger model than the weights are of")
        return made


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A fresh folder beside `folder` that takes its place once the block has run through, and vanishes otherwise."""
    folder = folder.absolute()
    if folder.is_dir() and any(entry.name not in KNOWN for entry in folder.iterdir()):
        raise SpeechError(
            f"expected a new folder or a checkpoint to replace, {folder} holds other files: choose another"
        )
    mark = uuid.uuid4().hex[:12]
    made, old = folder.with_name(f".{folder.name}-{mark}"), folder.with_name(f".{folder.name}-{mark}-old")
    try:
        made.mkdir(parents=True)
        yield made
        if folder.is_dir():
            folder.rename(old)
        try:
            made.rename(folder)
        except OSError:
            if old.is_dir():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise SpeechError(f"expected to write the checkpoint {folder}, it failed: {error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Reading the weights `path`; what goes wrong is told in one sentence."""
    try:
        yield _existing(path)
    except (SafetensorError, OSError) as error:
        raise SpeechError(f"expected {path} to be whole, it {fault(path)}") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SpeechError(f"expected the file {path}, it is missing: this is no complete checkpoint folder")
    return path
