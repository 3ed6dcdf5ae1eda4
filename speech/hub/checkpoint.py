"""Checkpoint folders: `model.safetensors`, `config.yaml`, a tokenizer file and the model card `README.md`."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from speech.asr.model import FastConformer, FastConformerConfig
from speech.errors import SpeechError
from speech.hub.schema import from_tree, to_tree

FAMILIES: Mapping[str, tuple[type[Any], type[nn.Module]]] = {"fastconformer": (FastConformerConfig, FastConformer)}
"""Model families by the name that `config.yaml` gives them: configuration class, module class."""

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.yaml", "README.md"
TOKENIZERS = ("tokenizer.model", "vocab.txt")  # SentencePiece, WordPiece


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint folder. model: in evaluation mode; tokenizer: path of the tokenizer file."""

    folder: Path
    family: str
    config: Any
    model: nn.Module
    tokenizer: Path


def save(
    folder: str | Path, model: nn.Module, tokenizer: str | Path, card: str, dtype: torch.dtype | None = torch.float16
) -> Path:
    """Write `model` (which has a `config` of a known family) as a checkpoint folder, whole or not at all.

    tokenizer: a SentencePiece model or a WordPiece `vocab.txt`. card: the text of README.md. dtype: the precision of
    the parameters, None for their own; buffers (filter banks, running statistics) are few and keep theirs.

    Raises:
        SpeechError: the folder holds something that is no checkpoint, or cannot be written.
    """
    family = next((name for name, (_, kind) in FAMILIES.items() if type(model) is kind), None)
    if family is None:
        raise SpeechError(f"expected a model of a known family ({', '.join(FAMILIES)}), got {type(model).__name__}")
    parameters = dict(model.named_parameters())
    tensors = {
        name: tensor.detach().to("cpu", dtype if name in parameters else None).contiguous()
        for name, tensor in model.state_dict().items()
    }
    count = str(sum(p.numel() for p in parameters.values()))
    with replacing(Path(folder)) as made:
        save_file(tensors, made / WEIGHTS, metadata={"format": "pt", "parameters": count})
        (made / WEIGHTS).chmod(0o644)  # safetensors makes files that only their owner can read
        text = yaml.safe_dump({"family": family, **to_tree(model.config)}, sort_keys=False, allow_unicode=True)
        (made / CONFIG).write_text(text, encoding="utf-8")
        shutil.copyfile(tokenizer, made / TOKENIZERS[Path(tokenizer).suffix == ".txt"])
        (made / CARD).write_text(card, encoding="utf-8")
    return Path(folder)


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
    model = build(FAMILIES[family][1], config, tensors, str(folder))
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype or torch.float32)
    return Checkpoint(folder, family, config, model.eval(), tokenizer_file(folder))


def read_config(folder: Path) -> tuple[str, Any]:
    """Family and configuration of a checkpoint folder."""
    if not folder.is_dir():
        raise SpeechError(f"expected a checkpoint folder, {folder} is none: check the path")
    path = _existing(folder / CONFIG)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpeechError(f"expected {path} to be plain YAML, it is not: {' '.join(str(error).split())}") from error
    family = tree.pop("family", None) if isinstance(tree, dict) else None
    if not isinstance(family, str) or family not in FAMILIES:
        raise SpeechError(f"expected {path} to name a family of {', '.join(FAMILIES)}, got {family!r}")
    return family, from_tree(FAMILIES[family][0], tree, str(path))


def count_parameters(folder: Path) -> int:
    """How many parameters the weights of a checkpoint folder hold, by their header; 0 where it does not say."""
    with _whole(folder / WEIGHTS) as path, safe_open(path, framework="np") as file:
        count = (file.metadata() or {}).get("parameters", "")
    return int(count) if count.isdecimal() else 0


def tokenizer_file(folder: Path) -> Path:
    """The tokenizer file of a checkpoint folder."""
    for name in TOKENIZERS:
        if (folder / name).is_file():
            return folder / name
    raise SpeechError(f"expected {' or '.join(TOKENIZERS)} in {folder}, found neither: fetch the checkpoint again")


def build(kind: type[nn.Module], config: Any, tensors: dict[str, Tensor], source: str) -> nn.Module:
    """A module of `kind` with exactly these tensors, of which it becomes the owner. source: for messages.

    Raises:
        SpeechError: the configuration cannot be built, or tensors are missing, left over or of another shape.
    """
    try:
        with _Unfilled():
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
    model.load_state_dict(tensors, assign=True)
    return model


class _Unfilled(TorchFunctionMode):
    """Spares a model that is about to be loaded the drawing of random weights, which takes longer than reading them."""

    draws = (Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self.draws:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A fresh folder beside `folder` that takes its place once the block has run through, and vanishes otherwise."""
    folder = folder.absolute()
    known = {WEIGHTS, CONFIG, CARD, *TOKENIZERS}
    if folder.is_dir() and any(entry.name not in known for entry in folder.iterdir()):
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
        raise SpeechError(f"expected {path} to be whole, it is damaged or cut short: fetch it again") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SpeechError(f"expected the file {path}, it is missing: this is no complete checkpoint folder")
    return path
