"""Voices by name, as synthesisers and converters keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from speech.errors import SpeechError

V = TypeVar("V")


@dataclass(frozen=True)
class Kind(Generic[V]):
    """What a model calls its voices, and how it checks, writes and reads them.

    name: "voice" or "target". fitting: the voice of a name, if it is one of this model; raises SpeechError otherwise.
    """

    name: str
    fitting: Callable[[str, V], V]
    pack: Callable[[Mapping[str, V]], bytes]
    read: Callable[[Path], dict[str, V]]


class Voices(Mapping[str, V]):
    """The voices of a model, the default first. Looking up one that is not there raises SpeechError.

    forgotten: called with each voice that another one of its name takes the place of. Raises SpeechError for voices of
    another model.
    """

    def __init__(
        self, kind: Kind[V], voices: Mapping[str, V], forgotten: Callable[[str, V], object] = lambda name, voice: None
    ) -> None:
        self._kind, self._forgotten = kind, forgotten
        self._voices = {name: kind.fitting(name, voice) for name, voice in voices.items()}

    def __getitem__(self, name: str) -> V:
        if not isinstance(name, str) or name not in self._voices:
            raise SpeechError(
                f"expected a {self._kind.name} of {self.known}, got {name!r}: choose one, or add_{self._kind.name} it"
            )
        return self._voices[name]

    def __contains__(self, name: object) -> bool:
        return name in self._voices

    def __iter__(self) -> Iterator[str]:
        return iter(self._voices)

    def __len__(self) -> int:
        return len(self._voices)

    @property
    def known(self) -> str:
        """All names, for a sentence."""
        return ", ".join(self._voices) or "none"

    @property
    def default(self) -> str:
        """The name of the default. Raises SpeechError where there is no voice."""
        if not self._voices:
            kind = self._kind.name
            raise SpeechError(
                f"expected a {kind}, this model brings none: name a recording of one, or make one by add_{kind}"
            )
        return next(iter(self._voices))

    def keep(self, name: str, voice: V) -> None:
        """Take up a voice under a name. Raises SpeechError for one of another model."""
        voice = self._kind.fitting(name, voice)
        if name in self._voices:
            self._forgotten(name, self._voices[name])
        self._voices[name] = voice

    def prefer(self, name: str) -> None:
        """Make a voice the default."""
        self._voices = {name: self[name], **self._voices}

    def take_up(self, asked: str | Path, add: Callable[[str, Path], None]) -> str:
        """The name of a voice that is there, or that is read now from a file of voices, or made of a recording by
        `add`, which is given a name for it and the file. Raises SpeechError for neither a name nor a file.
        """
        kind = self._kind.name
        if not isinstance(asked, str | Path):
            got = type(asked).__name__
            raise SpeechError(f"expected the name of a {kind} or a path, got {got}: take it up under a name first")
        if str(asked) in self._voices:
            return str(asked)
        path = Path(asked).expanduser()
        if not path.is_file():
            raise SpeechError(
                f"expected a {kind} of the model ({self.known}) or a recording of one, got '{asked}', which is "
                "neither: check the name"
            )
        if path.suffix == ".safetensors":
            return self.load(path)[0]
        add(str(asked), path)
        return str(asked)

    def save(self, name: str, path: str | Path) -> None:
        """Write a voice to a `.safetensors` file. Raises SpeechError where it is not there or cannot be written."""
        data = self._kind.pack({name: self[name]})
        try:
            Path(path).write_bytes(data)
        except OSError as error:
            raise SpeechError(
                f"expected to write the {self._kind.name} to {path}, it failed: {error.strerror}"
            ) from error

    def load(self, path: str | Path) -> list[str]:
        """Keep the voices of a file that `save` wrote; returns their names. Raises SpeechError for a damaged file, one
        that is not there, and voices of another model.
        """
        voices = self._kind.read(Path(path))
        for name, voice in voices.items():
            self.keep(name, voice)
        return list(voices)
