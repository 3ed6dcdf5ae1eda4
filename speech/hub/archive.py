"""Reading files from strangers: tar archives member by member, pickles that may hold tensors only."""

from __future__ import annotations

import io
import pickle
import re
import tarfile
import zlib
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.streaming.closing import Closing

MAX_MEMBERS = 1000
POINTER = b"version https://git-lfs."
MAX_BYTES = 32 << 30  # unpacked; ten times the largest public checkpoint of these families


class Archive(Closing):
    """A tar archive, plain or gzipped, whose names and sizes are checked before a byte of content is read.

    Nothing is ever unpacked to disk. Members are known by their name without a leading `./`.

    Raises:
        SpeechError: not a tar archive, cut short, too large, or a member is a link, a device or climbs out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._tar = tarfile.open(path, "r:*")  # noqa: SIM115 (close does)
        except FileNotFoundError:
            raise SpeechError(f"expected an archive, but {path} does not exist: check the path") from None
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise self._broken(error) from error
        try:
            self._members = self._index()
        except BaseException:
            self._tar.close()
            raise

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._tar.close()

    @property
    def names(self) -> list[str]:
        """The names of all plain files inside."""
        return list(self._members)

    def open(self, name: str) -> IO[bytes]:
        """One member as a seekable binary file."""
        if name not in self._members:
            raise SpeechError(f"expected {self.path} to hold {name}, it holds {', '.join(self.names[:8]) or 'nothing'}")
        file = self._tar.extractfile(self._members[name])
        assert file is not None  # only plain files are indexed
        if isinstance(self._tar.fileobj, io.BufferedReader):
            return file
        return io.BytesIO(self._read(file, -1))  # a gzip stream seeks backwards only by starting over

    def read(self, name: str, limit: int) -> bytes:
        """The content of a member of at most `limit` bytes."""
        with self.open(name) as file:
            data = self._read(file, limit + 1)
        if len(data) > limit:
            raise SpeechError(
                f"expected {name} in {self.path} to be at most {limit} bytes, got more: refusing to read it"
            )
        return data

    def _read(self, file: IO[bytes], count: int) -> bytes:
        try:
            return file.read(count)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise self._broken(error) from error

    def _index(self) -> dict[str, tarfile.TarInfo]:
        """Every plain file by its checked name. Headers are read one by one, so a bomb is refused before it unfolds."""
        members: dict[str, tarfile.TarInfo] = {}
        count = total = 0
        try:
            for member in self._tar:
                count, total = count + 1, total + member.size
                if count > MAX_MEMBERS or total > MAX_BYTES:
                    raise SpeechError(
                        f"expected {self.path} to hold at most {MAX_MEMBERS} files and {MAX_BYTES >> 30} GiB, "
                        "it claims more: refusing to read it"
                    )
                name = self._checked(member)
                if member.isfile():
                    members[name] = member
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise self._broken(error) from error
        return members

    def _checked(self, member: tarfile.TarInfo) -> str:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            raise SpeechError(
                f"expected names inside {self.path} to stay inside, got {member.name!r}: refusing to read it"
            )
        if member.issparse() or not (member.isfile() or member.isdir()):
            raise SpeechError(
                f"expected only plain files in {self.path}, {member.name!r} is a link, a device or full of holes: "
                "refusing to read it"
            )
        return str(path)

    def _broken(self, error: Exception) -> SpeechError:
        reason = error.strerror if isinstance(error, OSError) else None
        found = f"is not ({reason}): fetch it again" if reason else fault(self.path, "is cut short or of another kind")
        return SpeechError(f"expected {self.path} to be a whole tar archive, it {found}")


def fault(path: Path, usual: str = "is damaged or cut short") -> str:
    """What is wrong with a file that cannot be read, and what to do. usual: what it is if nothing else shows."""
    with suppress(OSError), path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            return "is a pointer of Git LFS to the weights: run `git lfs pull` where it was cloned"
    return f"{usual}: fetch it again"


def read_tensors(file: IO[bytes], name: str) -> dict[str, Tensor]:
    """The flat tensor dict of a `torch.save` file; numbers beside the tensors (counters of a training) are left out.

    Nothing in the file is executed.

    Raises:
        SpeechError: the pickle asks for anything but tensors, or the file is damaged.
    """
    tree = _read_tree(file, name)
    if not isinstance(tree, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor | int | float) for k, v in tree.items()
    ):
        raise SpeechError(f"expected {name} to map names to tensors, got something else: export the bare state dict")
    return {key: value for key, value in tree.items() if isinstance(value, Tensor)}


def read_groups(file: IO[bytes], name: str) -> dict[str, dict[str, Tensor]]:
    """Groups of tensors by name, from a `torch.save` file; what else is in a group is left out.

    Nothing in the file is executed.

    Raises:
        SpeechError: the pickle asks for anything but plain values and tensors, or the file is damaged.
    """
    tree = _read_tree(file, name)
    if not isinstance(tree, dict) or not all(isinstance(k, str) and isinstance(v, dict) for k, v in tree.items()):
        raise SpeechError(f"expected {name} to map names to groups of tensors, got something else: leave it out")
    return {
        key: {str(part): value for part, value in group.items() if isinstance(value, Tensor)}
        for key, group in tree.items()
    }


def read_group(file: IO[bytes], name: str, key: str) -> dict[str, Tensor]:
    """The tensors that a `torch.save` file keeps under `key`; what else is there is left out.

    Nothing in the file is executed.

    Raises:
        SpeechError: there is no such group, the pickle asks for anything but plain values and tensors, or the file is
            damaged.
    """
    tree = _read_tree(file, name)
    group = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(group, dict):
        raise SpeechError(f"expected {name} to hold a group of tensors {key!r}, it has none: check the file")
    return {str(part): value for part, value in group.items() if isinstance(value, Tensor)}


def _read_tree(file: IO[bytes], name: str) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        what = f"asks to run {wanted[1]}" if wanted else "holds more than tensors or is damaged"
        raise SpeechError(f"expected {name} to hold plain tensors, it {what}: refused, nothing was executed") from error
    except Exception as error:  # a damaged pickle may fail in any way
        raise SpeechError(
            f"expected {name} to be a whole torch file, it is damaged or cut short: fetch it again"
        ) from error
