"""Weights of TorchScript files, read as tensors: the program in such a file is neither run nor looked at."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.hub.archive import read_group, read_tensors

MAX_PICKLE = 64 << 20  # bytes; the tensors lie outside it
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_weights(path: Path, group: str | None = None) -> dict[str, Tensor]:
    """The parameters and buffers of a model by their names, from a TorchScript file or a `torch.save` of its tensors.

    group: the name under which a file of `torch.save` keeps them beside other things. Nothing in the file is executed.

    Raises:
        SpeechError: the file is missing, damaged or something else, wants more than tensors to be built, or has lost
            the names of its weights.
    """
    try:
        with ZipFile(path) as archive:
            programs = [name for name in archive.namelist() if name.endswith("/constants.pkl")]
            if programs:
                return _Reader(archive, programs[0].removesuffix("constants.pkl"), path).weights()
        with path.open("rb") as file:
            return read_tensors(file, str(path)) if group is None else read_group(file, str(path), group)
    except BadZipFile as error:
        raise SpeechError(
            f"expected {path} to be a PyTorch file, it is cut short or of another kind: fetch it again"
        ) from error
    except OSError as error:
        raise SpeechError(f"expected {path} to be readable, it is not: {error.strerror or error}") from error


class _Scope:
    """What an object of the program had for attributes."""

    def __init__(self) -> None:
        self.members: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.members = state if isinstance(state, dict) else {}


class _Reader(pickle.Unpickler):
    """Builds scopes, tensors, lists and plain values, and refuses everything else."""

    def __init__(self, archive: ZipFile, root: str, path: Path) -> None:
        self.archive, self.root, self.path = archive, root, path
        self.storages: dict[str, Tensor] = {}
        super().__init__(io.BytesIO(self._member("data.pkl", MAX_PICKLE)))

    def weights(self) -> dict[str, Tensor]:
        """All tensors that are attributes of the model or of a part of it."""
        try:
            left = [("", self.load())]
        except SpeechError:
            raise
        except Exception as error:  # a damaged pickle may fail in any way
            raise SpeechError(
                f"expected {self.path} to be a whole TorchScript file, it is damaged or cut short: fetch it again"
            ) from error
        out, seen = {}, set[int]()
        while left:
            prefix, scope = left.pop()
            if not isinstance(scope, _Scope) or id(scope) in seen:  # a part may belong to another and to itself
                continue
            seen.add(id(scope))
            for name, value in scope.members.items():
                if isinstance(value, Tensor):
                    out[f"{prefix}{name}"] = value
                else:
                    left.append((f"{prefix}{name}.", value))
        if not out:
            raise SpeechError(
                f"expected the weights of {self.path} under their names, it holds none: a frozen TorchScript file has "
                "lost them, take the one that was not frozen"
            )
        return out

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or function that the pickle names."""
        if module == "__torch__" or module.startswith("__torch__."):
            return _Scope
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle" and name.startswith("build_") and name.endswith("list"):
            return list
        if (module, name) == ("torch.jit._pickle", "restore_type_tag"):
            return _untagged
        raise SpeechError(
            f"expected {self.path} to hold plain tensors, it asks to run {module}.{name}: refused, nothing was executed"
        )

    def persistent_load(self, pid: Any) -> Tensor:
        """The numbers of one storage, [count]; read once, however many tensors share it."""
        _, dtype, key, _, count = pid
        if key not in self.storages:
            data = self._member(f"data/{key}", count * dtype.itemsize)
            self.storages[key] = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.storages[key]

    def _member(self, name: str, limit: int) -> bytes:
        """The content of one member; it is stored as it is, so that it cannot unfold into more than the file has."""
        names = self.archive.NameToInfo
        info = names.get(self.root + name)
        if info is None or info.compress_type != ZIP_STORED or info.file_size > limit:
            raise SpeechError(
                f"expected {self.path} to be a TorchScript file, its {name} is missing, packed or too large: fetch it "
                "again"
            )
        return self.archive.read(info)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A tensor of `size` within a storage; one that reaches beyond it is an error."""
    return storage.as_strided(size, stride, offset).clone()


def _untagged(value: Any, tag: str) -> Any:
    """A list or a dict without its TorchScript type."""
    return value
