"""Reading the files in which Whispers are published, `.pt` and Hugging Face folders, as bare tensors and sizes."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor

from speech.errors import SpeechError
from speech.hub.archive import fault

CONFIG, GENERATION = "config.json", "generation_config.json"
"""Files of a Hugging Face folder: sizes; how to decode, and there perhaps `alignment_heads`."""

RECORDS = ("ModelDimensions", "Namespace")
"""Classes of plain records that published files pickle; they are read as bags of values, their code is not."""

HUGGING_FACE = {
    "num_mel_bins": "n_mels",
    "max_source_positions": "n_audio_ctx",
    "d_model": "n_audio_state",
    "encoder_attention_heads": "n_audio_head",
    "encoder_layers": "n_audio_layer",
    "vocab_size": "n_vocab",
    "max_target_positions": "n_text_ctx",
    "decoder_attention_heads": "n_text_head",
    "decoder_layers": "n_text_layer",
}
"""Sizes in `config.json` by the names that OpenAI gives them."""

_LAYERS = {
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "final_layer_norm": "mlp_ln",
    "self_attn": "attn",
    "encoder_attn": "cross_attn",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "layers": "blocks",
}
_ENDS = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    **{f"encoder.layer_norm.{part}": f"encoder.ln_post.{part}" for part in ("weight", "bias")},
    **{f"decoder.layer_norm.{part}": f"decoder.ln.{part}" for part in ("weight", "bias")},
}


@dataclass(frozen=True)
class Published:
    """A published Whisper. tensors, dims: under OpenAI's names. causal: settings of a CarelessWhisper / WhisperRT.

    heads: those of the decoder that follow the sound, layer and head, where they are told.
    """

    path: Path
    tensors: dict[str, Tensor]
    dims: Mapping[str, int]
    causal: Mapping[str, Any] = field(default_factory=dict)
    heads: tuple[tuple[int, int], ...] | None = None


class _Record:
    """Stands in for a foreign class: pickle fills in its attributes, nothing else happens."""


def read(path: Path) -> Published:
    """A published Whisper, a file or a folder. Raises SpeechError for what is none, whole."""
    if not path.exists():
        raise SpeechError(f"expected a Whisper, {path} does not exist: check the path")
    return read_folder(path) if path.is_dir() else read_file(path)


def read_file(path: Path) -> Published:
    """A `.pt` file of OpenAI (`dims`, `model_state_dict`) or of a causal Whisper (`dims`, `state_dict`, `cfg`).

    Nothing in the file is executed.

    Raises:
        SpeechError: it is damaged, asks to run code, or is of another kind.
    """
    with _told(path):
        asked = torch.serialization.get_unsafe_globals_in_checkpoint(path) if is_zipfile(path) else []
        records: list[Any] = [(_Record, name) for name in asked if name.rpartition(".")[2] in RECORDS]
        with torch.serialization.safe_globals(records):
            tree = torch.load(path, map_location="cpu", weights_only=True)
    groups = {key: _plain(value) for key, value in tree.items()} if isinstance(tree, dict) else {}
    tensors = groups.get("model_state_dict") or groups.get("state_dict")
    if not tensors or not _named(tensors) or not groups.get("dims"):
        raise SpeechError(
            f"expected {path} to hold `dims` and `model_state_dict` (OpenAI) or `dims`, `state_dict` and `cfg` (causal "
            f"Whisper), it holds {', '.join(map(str, groups)) or 'neither'}: take the file of a Whisper"
        )
    if all(name.startswith("model.") for name in tensors):  # a training's module around the model
        tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    settings = groups.get("cfg") or {}
    if not isinstance(settings, dict):
        raise SpeechError(
            f"expected `cfg` in {path} to hold settings by name, it is of type {type(settings).__name__}: take the "
            "file as it was published"
        )
    return Published(path, tensors, _integers(groups.get("dims"), path), settings)


def read_folder(folder: Path) -> Published:
    """A Hugging Face folder: `config.json` and `model.safetensors`, its shards, or `pytorch_model.bin`.

    `alignment_heads` of `generation_config.json` are read where there are any.

    Raises:
        SpeechError: a file is missing or damaged, or the folder holds another model.
    """
    tree = _json(folder / CONFIG)
    kind = tree.get("model_type")
    if kind != "whisper":
        raise SpeechError(f"expected the folder of a Whisper, {folder} holds a model of type {kind!r}: take another")
    tensors: dict[str, Tensor] = {}
    for path in _weights(folder):
        with _told(path):
            part = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        if not _named(part):
            raise SpeechError(f"expected {path} to hold tensors by name, it holds something else: fetch it again")
        tensors.update(part)
    tensors.pop("proj_out.weight", None)  # the token embedding once more
    dims = {own: tree[name] for name, own in HUGGING_FACE.items() if name in tree}
    own = {_openai(name): tensor for name, tensor in tensors.items()}
    return Published(folder, own, _integers(dims, folder), heads=_heads(folder / GENERATION))


def _json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SpeechError(f"expected {path} to be JSON, it cannot be read: fetch it again") from error
    return tree if isinstance(tree, dict) else {}


def _heads(path: Path) -> tuple[tuple[int, int], ...] | None:
    """The alignment heads that a `generation_config.json` names, if it is there and does."""
    heads = _json(path).get("alignment_heads") if path.is_file() else None
    if heads is None:
        return None
    pairs = heads if isinstance(heads, list) else [heads]
    if not all(isinstance(pair, list) and [type(n) for n in pair] == [int, int] for pair in pairs):
        raise SpeechError(f"expected alignment_heads in {path} as pairs of layer and head, got {heads!r}: correct them")
    return tuple((layer, head) for layer, head in pairs)


def _weights(folder: Path) -> list[Path]:
    """The weight files of a folder; of several forms the first."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
    shards = sorted(folder.glob("model-*-of-*.safetensors")) or sorted(folder.glob("pytorch_model-*-of-*.bin"))
    if not shards or len(shards) != int(re.split(r"-of-|\.", shards[0].name)[-2]):
        raise SpeechError(
            f"expected model.safetensors or pytorch_model.bin, or all of their shards, in {folder}, found "
            f"{len(shards)} shards: fetch the whole folder"
        )
    return shards


def _openai(name: str) -> str:
    """OpenAI's name of a tensor of a Hugging Face folder; one that is not known stays as it is."""
    bare = name.removeprefix("model.")
    return _ENDS.get(bare) or ".".join(_LAYERS.get(part, part) for part in bare.split("."))


def _named(tree: Any) -> bool:
    """Whether something is tensors by their names."""
    return isinstance(tree, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in tree.items())


def _plain(value: Any) -> Any:
    return vars(value) if isinstance(value, _Record) else value


def _integers(dims: Any, path: Path) -> dict[str, int]:
    if not isinstance(dims, dict) or not all(type(value) is int and value > 0 for value in dims.values()):
        raise SpeechError(f"expected the sizes of the model in {path} as positive integers, got {dims!r}")
    return dims


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong while weights are read, told in one sentence."""
    try:
        yield
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        what = f"asks to run {wanted[1]}" if wanted else "holds more than tensors or is damaged"
        raise SpeechError(f"expected {path} to hold plain tensors, it {what}: refused, nothing was executed") from error
    except Exception as error:  # of garbled pickles come errors of any type
        raise SpeechError(f"expected {path} to be a whole file of weights, it {fault(path)}") from error
