"""`speech synthesize`: a manifest of texts to a folder of sound files."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech.cli import recogniser, synthesiser
from speech.cli.batch import make_folder
from speech.cli.manifest import Entry, Results, read_manifest
from speech.cli.outlet import Outlet, sink, terminable
from speech.cli.output import AsJson, emit, note, progress
from speech.cli.synthesiser import Timings
from speech.errors import SpeechError

if TYPE_CHECKING:
    from speech.tts.synthesiser import Synthesiser


class Format(StrEnum):
    """Kinds of sound files."""

    wav = "wav"
    flac = "flac"
    mp3 = "mp3"
    ogg = "ogg"
    opus = "opus"


def synthesize(
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST|-", help='Lines of text, or JSON lines: {"id": "a1", "text": "..."}.')
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Write files here; what is there is not redone.")
    ],
    voices: Annotated[
        list[str] | None,
        typer.Option(
            "--voice",
            metavar="NAME|FILE",
            help="Given several times, every line is spoken in each voice, into a folder for each.",
        ),
    ] = None,
    voice_texts: Annotated[
        list[str] | None,
        typer.Option("--voice-text", metavar="TEXT", help="What is said in the recording of --voice; one for each."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f")] = Format.wav,
    speed: synthesiser.Speed = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="The same one makes the same files.")] = 0,
    no_markup: synthesiser.NoMarkup = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo what is there already.")] = False,
    model: synthesiser.Model = "tts",
    device: recogniser.Device = None,
    threads: synthesiser.Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Speak every line of a manifest into a file. A bad one is reported at the end and does not stop the rest.

    DIR/results.jsonl tells of every file what is said in it. A line may ask for a "voice", "speed" and "seed" of its
    own.
    """
    if voice_texts and len(voice_texts) != len(voices or []):
        raise typer.BadParameter(f"expected one for each of {len(voices or [])} voices", param_hint="--voice-text")
    entries, faults = read_manifest(Path(manifest))
    make_folder(out)
    usual = {"speed": speed, "seed": seed, "markup": not no_markup, "model": model}
    results, batch = Results(out), Batch(out, Path(manifest).parent, as_json, faults)
    jobs = [job for entry in entries for job in plan(entry, voices or [None], form, usual)]
    todo = [job for job in jobs if overwrite or not results.has(job.record)]
    batch.skipped = len(jobs) - len(todo)
    if todo:
        synthesizer = synthesiser.load(model, device, threads)
        for voice, text in zip(voices or [], voice_texts or [""] * len(voices or []), strict=True):
            batch.taken[voice, False] = synthesiser.take_up(synthesizer, voice, text)
        results.begin([job.record["file"] for job in todo])
        try:
            with terminable():
                batch.run(todo, synthesizer, results)
        except KeyboardInterrupt:
            batch.report()
            note("stopped; what is written stays, and the same command goes on from there")
            raise typer.Exit(130) from None
    batch.report()
    if batch.failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Job:
    """A text in a voice. record: what is asked for, as the results keep it. own: whether the line names the voice."""

    record: dict[str, Any]
    own: bool


def plan(entry: Entry, voices: list[str] | list[None], form: Format, usual: dict[str, Any]) -> list[Job]:
    """The jobs of a line: its own voice, else each of `voices`, which have folders where there are several of them."""
    named = [entry.voice] if entry.voice is not None else voices
    jobs = []
    for voice in named:
        folder = "" if len(voices) == 1 else f"{Path(voice or '').stem}/"
        record = {"id": entry.id, "file": f"{folder}{entry.id}.{form}", "text": entry.text, "voice": voice, **usual}
        record |= {key: value for key, value in (("speed", entry.speed), ("seed", entry.seed)) if value is not None}
        jobs.append(Job(record, entry.voice is not None))
    return jobs


@dataclass
class Batch:
    """A run over lines: writes each file, keeps count, and reports at the end. home: where the lines' recordings lie.

    taken: the synthesiser's names of voices, by how they are asked for, and whether by a line of its own. A file
    appears whole or not at all.
    """

    folder: Path
    home: Path
    as_json: bool
    failed: list[str]
    done: int = 0
    skipped: int = 0
    odd: int = 0
    timings: Timings = field(default_factory=Timings)
    taken: dict[tuple[str | None, bool], str | None] = field(default_factory=dict)

    def run(self, jobs: list[Job], synthesizer: Synthesiser, results: Results) -> None:
        """Speak all jobs under a progress bar on standard error, where that is a terminal."""
        with progress() as bar:
            task = bar.add_task("", total=len(jobs), factor="")
            for number, job in enumerate(jobs, 1):
                bar.update(task, description=f"{number}/{len(jobs)} {job.record['id']}")
                try:
                    record = self.speak(job, synthesizer)
                    results.add(record)
                    self.done += 1
                    if self.as_json:
                        emit(record)
                except SpeechError as error:
                    self.failed.append(f"{job.record['file']}: {error}")
                    if self.as_json:
                        emit({**job.record, "error": str(error)})
                factor = self.timings.factor
                bar.update(task, advance=1, factor=f"real-time factor {factor:.3f}" if factor else "")

    def speak(self, job: Job, synthesizer: Synthesiser) -> dict[str, Any]:
        """Make one file; returns its record."""
        asked, path = job.record, self.folder / job.record["file"]
        voice, own = asked["voice"], job.own
        if (voice, own) not in self.taken:
            self.taken[voice, own] = synthesiser.take_up(synthesizer, voice, folder=self.home if own else Path())
        make_folder(path.parent)
        part = path.with_name(f".{path.stem}.part{path.suffix}")
        words, before = [], self.timings.audio
        options = {key: asked[key] for key in ("speed", "seed", "markup")}
        stream = synthesizer.stream(self.timings.arriving([asked["text"]]), self.taken[voice, own], **options)
        try:
            with Outlet(sink(str(part), None, synthesizer.sample_rate)) as outlet, stream:
                for sound in stream:
                    self.timings.heard(sound.seconds)
                    outlet.write(sound.samples)
                    words += [word.to_dict() for word in sound.words]
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
            self.timings.add(stream.stages)
        self.odd += bool(stream.warnings)
        record = {**asked, "sample_rate": synthesizer.sample_rate, "seconds": round(self.timings.audio - before, 3)}
        return record | ({"words": words} if words else {}) | ({"warnings": stream.warnings} if stream.warnings else {})

    def report(self) -> None:
        """One line a failure, then one line for all."""
        for sentence in self.failed:
            note(sentence)
        parts = [f"{self.done} spoken"]
        parts += [f"{self.skipped} done before"] if self.skipped else []
        parts += [f"{self.odd} with warnings, see the results"] if self.odd else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [str(self.timings)] if self.timings.audio else []
        note(", ".join(parts))
