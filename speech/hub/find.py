"""From the name of a model to its checkpoint folder: bundled, on disk, in the cache, or fetched and converted once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from speech.config import cache_folder
from speech.errors import SpeechError
from speech.hub.public import FILES, is_cosyvoice, is_foreign, is_meanvc, is_public, is_whisper

BUNDLED = Path(__file__).parent / "bundled"
BUNDLED_NAMES = ("asr", "tts", "vc")
LAYOUT = "v1"  # of cached checkpoints: a change of configuration keys or tensor names starts a fresh cache

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(name: str | Path) -> Path:
    """The checkpoint folder of a model; what is not there yet is fetched or converted, which happens once.

    name: `asr`, `tts` or `vc` (bundled), a checkpoint folder, a `.nemo` file, a `.pt` file of a Whisper, a folder of
    CosyVoice 2 or 3, of MeanVC or of a Whisper, or a hub name such as `owner/model`.

    Raises:
        SpeechError: no such model, or it cannot be read, converted or fetched.
    """
    if not isinstance(name, str | Path) or not str(name):
        raise SpeechError(f"expected the name or the path of a model, got {name!r}: `speech models list` shows names")
    path = Path(name).expanduser()
    if (folder := find(name)) is not None:
        return folder
    if is_foreign(path):
        return import_foreign(path, cached_import(path))
    if path.exists():
        raise SpeechError(
            f"expected a checkpoint folder, a .nemo or a .pt file, {path} is neither: see `speech models list`"
        )
    if is_hub_name(name):
        from speech.hub.download import fetch

        return fetch(str(name), cached_hub(str(name)))
    raise SpeechError(
        f"expected a model name, a checkpoint folder, a .nemo or .pt file, or a hub name such as owner/model, "
        f"got {str(name)!r}: `speech models list` shows what there is"
    )


def find(name: str | Path) -> Path | None:
    """The checkpoint folder of a model that is already here as one, else None. Never touches the network."""
    path = Path(name).expanduser()
    if str(name) in BUNDLED_NAMES:
        if (BUNDLED / str(name) / "config.yaml").is_file():
            return BUNDLED / str(name)
        raise SpeechError(
            f"expected the bundled model {str(name)!r} in this installation, it has none: name a checkpoint folder "
            "or a public checkpoint; `speech models list` shows what is here"
        )
    if path.is_dir() and not is_public(path):
        return path
    if path.is_dir() or (path.suffix in FILES and path.is_file()):
        folder = cached_import(path)
    elif not path.exists() and is_hub_name(name):
        folder = cached_hub(str(name))
    else:
        return None
    return folder if folder.is_dir() else None


def import_foreign(path: Path, folder: Path) -> Path:
    """Convert a `.nemo` or `.pt` file, or a folder of CosyVoice, MeanVC or Whisper, into `folder`; returns that."""
    if path.suffix == ".pt" or is_whisper(path):  # the converters bring torch, which a listing does without
        from speech.hub.whisper.folder import convert
    elif is_meanvc(path):
        from speech.hub.meanvc.model import convert
    elif is_cosyvoice(path):
        from speech.hub.cosyvoice.folder import convert
    elif path.suffix == ".nemo":
        from speech.hub.nemo.file import convert
    elif (path / "config.yaml").is_file():
        raise SpeechError(f"expected a foreign model, {path} is a checkpoint folder already: name it as the --model")
    else:
        raise SpeechError(
            f"expected a .nemo or a .pt file, or a folder with the files of CosyVoice, MeanVC or a Whisper, got {path}"
            f"{'' if path.exists() else ', which does not exist'}: name a file or a folder as it was published"
        )
    return convert(path, folder)


def is_hub_name(name: str | Path) -> bool:
    """Whether a name has the form `owner/model`."""
    return _HUB_NAME.fullmatch(str(name)) is not None


def cached_hub(name: str) -> Path:
    """Where the checkpoint of a hub name is kept."""
    return hub_cache() / name.replace("/", "--")


def cached_import(path: Path) -> Path:
    """Where the checkpoint made from a file is kept, by the file's content, or from a folder, by its files.

    The files of a folder, which hold gigabytes, are told from others by name, size and date.
    """
    try:
        if path.is_dir():
            files = [(file.name, file.stat()) for file in sorted(path.iterdir()) if file.exists()]
            known = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
            name, digest = path.resolve().name, hashlib.sha256(repr((str(path.resolve()), known)).encode()).hexdigest()
        elif path.is_file():
            with path.open("rb") as file:
                name, digest = path.stem, hashlib.file_digest(file, "sha256").hexdigest()
        else:
            raise SpeechError(f"expected a .nemo or .pt file or a folder, but {path} does not exist: check the path")
    except OSError as error:
        raise SpeechError(f"expected to read {path}, it failed: {error.strerror}") from error
    return import_cache() / f"{name}-{digest[:16]}"


def hub_cache() -> Path:
    """The folder of checkpoints fetched from the hub, each named `owner--model`."""
    return cache_folder() / LAYOUT / "hub"


def import_cache() -> Path:
    """The folder of checkpoints converted from local files."""
    return cache_folder() / LAYOUT / "imports"
