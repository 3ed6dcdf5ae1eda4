"""What `speech synthesize` is to say, and what it has said: `results.jsonl`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech.cli.batch import STANDARD_INPUT, write_whole
from speech.errors import SpeechError

RESULTS = "results.jsonl"
_ID = re.compile(r"\w[\w.-]{0,199}")
_KINDS: dict[str, tuple[type, ...]] = {
    "id": (int, str),
    "text": (str,),
    "voice": (str,),
    "speed": (int, float),
    "seed": (int,),
}


@dataclass(frozen=True)
class Entry:
    """A text, the name of its file, and what it asks for itself; what is None is as for all."""

    id: str
    text: str
    voice: str | None = None
    speed: float | None = None
    seed: int | None = None


def read_manifest(path: Path) -> tuple[list[Entry], list[str]]:
    """The entries of a manifest, and a sentence for each line that is none.

    JSON lines where the name ends in .jsonl or the first line begins with `{`, each an object with `text` and perhaps
    `id`, `voice`, `speed` and `seed` (other fields do not matter); otherwise every line is a text. Entries without an
    id are named by their line, 00001. Raises SpeechError where the file cannot be read or has no line.
    """
    lines = list(enumerate(_read(path).removeprefix(b"\xef\xbb\xbf").splitlines(), 1))
    lines = [(number, line) for number, line in lines if line.strip()]
    if not lines:
        raise SpeechError(f"expected lines of text in '{path}', it has none: write at least one")
    plain = path.suffix != ".jsonl" and not lines[0][1].lstrip().startswith(b"{")
    entries: dict[str, Entry] = {}
    faults = []
    for number, line in lines:
        try:
            entry = _entry(line, f"{number:05d}", plain)
            if entry.id in entries:
                raise SpeechError(f"expected an id of its own, got {entry.id} once more: change one")
            entries[entry.id] = entry
        except SpeechError as error:
            faults.append(f"line {number}: {error}")
    return list(entries.values()), faults


def _read(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    except OSError as error:
        raise SpeechError(f"expected a manifest, but '{path}': {error.strerror}; check the path") from error


def _entry(line: bytes, name: str, plain: bool) -> Entry:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise SpeechError("expected UTF-8, got other bytes: convert the file") from None
    if plain:
        return Entry(name, text.strip())
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise SpeechError(f"expected a JSON object, got none ({error}): write one a line") from None
    if not isinstance(fields, dict) or "text" not in fields:
        raise SpeechError('expected a JSON object with a "text", got another: write {"id": ..., "text": ...}')
    fields = {key: fields[key] for key in _KINDS if fields.get(key) is not None}
    for key, value in fields.items():
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
            raise SpeechError(f"expected {key} as {_KINDS[key][-1].__name__}, got {json.dumps(value)}: correct it")
    entry = Entry(**{"text": "", **fields, "id": str(fields.get("id", name))})
    if not _ID.fullmatch(entry.id):
        raise SpeechError(f"expected an id of letters, digits, _, . and -, got {entry.id!r}: it becomes a file's name")
    return entry


class Results:
    """The records of a folder, one for each file: `results.jsonl`, a line more for each that is added.

    A run that was broken off may have left half a line behind: it does not count, and is gone when the file is opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / RESULTS
        self.records = {record["file"]: record for record in self._read()}

    def has(self, record: dict[str, Any]) -> bool:
        """Whether the file is there, made of what `record` says: the same text, voice, ..."""
        known = self.records.get(record["file"])
        return (
            known is not None
            and all(known.get(key) == value for key, value in record.items())
            and (self.folder / record["file"]).is_file()
        )

    def begin(self, redone: list[str]) -> None:
        """Write the file anew, without the records of files that are to be made again."""
        for file in redone:
            self.records.pop(file, None)
        write_whole(self.path, "".join(map(_line, self.records.values())))

    def add(self, record: dict[str, Any]) -> None:
        """Append a record."""
        self.records[record["file"]] = record
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(record))
        except OSError as error:
            raise SpeechError(f"expected to write {self.path}, but {error.strerror}: choose another --out") from error

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self.path.is_file():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("file"), str):
                yield record


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"
