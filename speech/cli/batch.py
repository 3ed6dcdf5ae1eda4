"""A batch of recordings: which files, which outputs, what is done already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import typer

from speech.cli.outlet import terminable
from speech.cli.output import note
from speech.errors import SpeechError

AUDIO_SUFFIXES = frozenset(".wav .flac .mp3 .ogg .oga .opus .aiff .aif .aifc .au .caf .w64 .rf64 .m4a .mp4".split())
STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Job:
    """One recording and the files to be written for it, by format name."""

    source: Path
    outputs: dict[str, Path] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether every output is there and none is older than the recording. Outputs appear whole or not at all."""
        if not self.outputs or not self.source.exists():
            return False
        recorded = self.source.stat().st_mtime
        return all(path.exists() and path.stat().st_mtime >= recorded for path in self.outputs.values())


@dataclass(kw_only=True)
class Tally:
    """What became of a batch. verb: what is done to each of its jobs, as "converted"."""

    verb: str
    done: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)

    def fail(self, name: str, error: Exception) -> None:
        """Remember what is wrong with one job."""
        name = "standard input" if name == str(STANDARD_INPUT) else name
        self.failed.append(str(error) if name in str(error) else f"{name}: {error}")

    def more(self) -> list[str]:
        """What else there is to tell of all."""
        return []

    @contextmanager
    def told(self) -> Iterator[None]:
        """Run the batch within: at the end there is a line for each failure and one for all.

        Being asked to terminate is like Ctrl-C, which ends the program; what is written stays.
        """
        try:
            with terminable():
                yield
        except KeyboardInterrupt:
            self._report()
            note("stopped; what is written stays, and the same command goes on from there")
            raise typer.Exit(130) from None
        self._report()

    def _report(self) -> None:
        for sentence in self.failed:
            note(sentence)
        parts = [f"{self.done} {self.verb}"]
        parts += [f"{self.skipped} done before"] if self.skipped else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        note(", ".join(parts + self.more()))


def pace(audio: float, busy: float) -> list[str]:
    """How fast so many seconds of audio were worked on in so many seconds; nothing for none."""
    factor = busy / audio if audio else 0.0
    return [f"{audio:.1f} s of audio in {busy:.1f} s, real-time factor {factor:.3f}"] if audio else []


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """The name of a file to write, which becomes `path` if all goes well, and is gone otherwise."""
    make_folder(path.parent)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def named(files: Sequence[str]) -> list[Path]:
    """The paths that a command line names. Raises SpeechError for an empty name, which would be the current folder."""
    if "" in files:
        raise SpeechError("expected the name of a file or a folder, got an empty one: see whether a variable is unset")
    return [Path(file) for file in files]


def plan(sources: Sequence[Path], folder: Path | None, suffixes: dict[str, str]) -> list[Job]:
    """The jobs of a batch: files as they are, folders searched through for audio, `-` for standard input.

    folder: where outputs go (None: nowhere); below it the tree of a searched folder is kept. suffixes: file name
    suffix of every format. Outputs are named a.txt; where there is both an a.wav and an a.flac, a.wav.txt and
    a.flac.txt. Raises SpeechError where a folder holds no audio, or two recordings share an output for all that.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        for path, relative in _recordings(source):
            found.setdefault(path, relative)
    if folder is None:
        return [Job(path) for path in found]
    namesakes = Counter(relative.with_suffix("") for relative in found.values())
    owner: dict[Path, Path] = {}
    jobs = []
    for path, relative in found.items():
        stem = relative.with_suffix("") if namesakes[relative.with_suffix("")] == 1 else relative
        jobs.append(Job(path, {name: folder / stem.with_name(stem.name + end) for name, end in suffixes.items()}))
        for output in jobs[-1].outputs.values():
            if owner.setdefault(output, path) != path:
                raise SpeechError(
                    f"expected recordings with names of their own, but {owner[output]} and {path} would both be "
                    f"written to {output}: rename one, or transcribe them in two runs with two --output folders"
                )
    return jobs


def _recordings(source: Path) -> list[tuple[Path, Path]]:
    """The recordings that a named source stands for, each with its path below an output folder."""
    if source == STANDARD_INPUT:
        return [(source, Path("stdin"))]
    if not source.is_dir():
        return [(source, Path(source.name))]
    found = sorted(p for p in source.rglob("*") if p.is_file() and p.suffix.lower() in AUDIO_SUFFIXES)
    if not found:
        raise SpeechError(
            f"expected audio files in the folder {source}, found none with a suffix such as .wav, .flac, .mp3, .opus: "
            "name the files themselves"
        )
    return [(path, path.relative_to(source)) for path in found]


def make_folder(path: Path) -> None:
    """Make the folder `path` where it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpeechError(
            f"expected a folder to write to, got {path}: {error.strerror or error}; choose another folder"
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Write `text` so that `path` holds all of it or does not change, whatever happens meanwhile."""
    part = path.with_name(f".{path.name}.part")
    make_folder(path.parent)
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise SpeechError(
            f"expected to write {path}, got {error.strerror or error}: choose another --output folder"
        ) from error
    finally:
        part.unlink(missing_ok=True)
