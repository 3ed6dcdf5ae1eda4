"""From the name of a model to its checkpoint folder: bundled, on disk, in the cache, or fetched and converted once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from speech.config import cache_folder
from speech.errors import SpeechError

BUNDLED = Path(__file__).parent / "bundled"
BUNDLED_NAMES = ("asr",)
LAYOUT = "v1"  # of cached checkpoints: a change of configuration keys or tensor names starts a fresh cache

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(name: str | Path) -> Path:
    """The checkpoint folder of a model; what is not there yet is fetched or converted, which happens once.

    name: `asr` (bundled), a checkpoint folder, a `.nemo` file, or a hub name such as `owner/model`.

    Raises:
        SpeechError: no such model, or it cannot be read, converted or fetched.
    """
    path = Path(name).expanduser()
    if (folder := find(name)) is not None:
        return folder
    if path.suffix == ".nemo":
        return import_nemo(path, cached_import(path))
    if path.exists():
        raise SpeechError(f"expected a checkpoint folder or a .nemo file, {path} is neither: see `speech models list`")
    if is_hub_name(name):
        from speech.hub.download import fetch

        return fetch(str(name), cached_hub(str(name)))
    raise SpeechError(
        f"expected a model name, a checkpoint folder, a .nemo file or a hub name such as owner/model, "
        f"got {str(name)!r}: `speech models list` shows what there is"
    )


def find(name: str | Path) -> Path | None:
    """The checkpoint folder of a model that is already here as one, else None. Never touches the network."""
    path = Path(name).expanduser()
    if str(name) in BUNDLED_NAMES:
        if (BUNDLED / str(name) / "config.yaml").is_file():
            return BUNDLED / str(name)
        raise SpeechError(
            f"expected the bundled model {str(name)!r} in this installation, its weights are not there: "
            "install the complete package, or name a checkpoint folder, a .nemo file or a hub model"
        )
    if path.is_dir():
        return path
    if path.suffix == ".nemo" and path.is_file():
        folder = cached_import(path)
    elif not path.exists() and is_hub_name(name):
        folder = cached_hub(str(name))
    else:
        return None
    return folder if folder.is_dir() else None


def import_nemo(path: Path, folder: Path, card: str | None = None) -> Path:
    """Convert a `.nemo` file into the checkpoint folder `folder`; returns `folder`."""
    from speech.hub.nemo import convert  # brings torch, which a listing does without

    return convert(path, folder, card)


def is_hub_name(name: str | Path) -> bool:
    """Whether a name has the form `owner/model`."""
    return _HUB_NAME.fullmatch(str(name)) is not None


def cached_hub(name: str) -> Path:
    """Where the checkpoint of a hub name is kept."""
    return hub_cache() / name.replace("/", "--")


def cached_import(path: Path) -> Path:
    """Where the checkpoint made from a `.nemo` file is kept, by the file's content."""
    if not path.is_file():
        raise SpeechError(f"expected a .nemo file, but {path} does not exist: check the path")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SpeechError(f"expected to read {path}, it failed: {error.strerror}") from error
    return import_cache() / f"{path.stem}-{digest[:16]}"


def hub_cache() -> Path:
    """The folder of checkpoints fetched from the hub, each named `owner--model`."""
    return cache_folder() / LAYOUT / "hub"


def import_cache() -> Path:
    """The folder of checkpoints converted from local files."""
    return cache_folder() / LAYOUT / "imports"
