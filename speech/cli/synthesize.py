"""`speech synthesize`: a manifest of texts to a folder of sound files."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech.cli import recogniser, synthesiser
from speech.cli.batch import Tally, appearing, make_folder
from speech.cli.manifest import Entry, Results, read_manifest
from speech.cli.outlet import Outlet, sink
from speech.cli.output import AsJson, emit, noted, progress
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
    normaliser: synthesiser.Normaliser = None,
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
    usual = {"speed": speed, "seed": seed, "markup": not no_markup, "normaliser": normaliser, "model": model}
    results = Results(out)
    batch = Batch(verb="spoken", folder=out, home=Path(manifest).parent, as_json=as_json, failed=faults)
    jobs = [job for entry in entries for job in plan(entry, voices or [None], form, usual)]
    todo = [job for job in jobs if overwrite or not results.has(job.record)]
    batch.skipped = len(jobs) - len(todo)
    with batch.told():
        if todo:
            synthesizer = synthesiser.load(model, device, threads, normaliser)
            for voice, text in zip(voices or [], voice_texts or [""] * len(voices or []), strict=True):
                with noted():
                    batch.taken[voice, False] = synthesizer.take_up(voice, text)
            results.begin([job.record["file"] for job in todo])
            batch.run(todo, synthesizer, results)
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


@dataclass(kw_only=True)
class Batch(Tally):
    """A run over lines, which writes each file, whole or not at all. home: where the lines' recordings lie.

    taken: the synthesiser's names of voices, by how they are asked for, and whether by a line of its own.
    """

    folder: Path
    home: Path
    as_json: bool
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
                    self.fail(job.record["file"], error)
                    if self.as_json:
                        emit({**job.record, "error": str(error)})
                factor = self.timings.factor
                bar.update(task, advance=1, factor=f"real-time factor {factor:.3f}" if factor else "")

    def speak(self, job: Job, synthesizer: Synthesiser) -> dict[str, Any]:
        """Make one file; returns its record."""
        asked, path = job.record, self.folder / job.record["file"]
        voice, own = asked["voice"], job.own
        if (voice, own) not in self.taken:
            beside = own and (self.home / voice).is_file()  # the manifest
            with noted():
                self.taken[voice, own] = synthesizer.take_up(self.home / voice if beside else voice)
        words, before = [], self.timings.audio
        options = {key: asked[key] for key in ("speed", "seed", "markup")}
        stream = synthesizer.stream(self.timings.arriving([asked["text"]]), self.taken[voice, own], **options)
        try:
            with appearing(path) as part, Outlet(sink(str(part), None, synthesizer.sample_rate)) as outlet, stream:
                for sound in stream:
                    self.timings.heard(sound.seconds)
                    outlet.write(sound.samples)
                    words += [word.to_dict() for word in sound.words]
        finally:
            self.timings.add(stream.stages)
        self.odd += bool(stream.warnings)
        record = {**asked, "sample_rate": synthesizer.sample_rate, "seconds": round(self.timings.audio - before, 3)}
        return record | ({"words": words} if words else {}) | ({"warnings": stream.warnings} if stream.warnings else {})

    def more(self) -> list[str]:
        odd = [f"{self.odd} with warnings, see the results"] if self.odd else []
        return odd + ([str(self.timings)] if self.timings.audio else [])
