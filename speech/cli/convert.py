"""`speech convert`: recordings into another voice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech.cli import live_convert, recogniser, synthesiser
from speech.cli.batch import AUDIO_SUFFIXES, STANDARD_INPUT, Job, Tally, appearing, make_folder, named, pace, plan
from speech.cli.manifest import Results
from speech.cli.output import AsJson, emit, noted, progress
from speech.cli.synthesize import Format
from speech.errors import SpeechError

if TYPE_CHECKING:
    from speech.vc.converter import Converter

Model = Annotated[str, typer.Option("--model", "-m", help="`vc` (bundled), a checkpoint folder, or one of MeanVC.")]
To = Annotated[
    list[str],
    typer.Option(
        "--to", metavar="NAME|FILE", help="A voice of the model, or a recording of one; several of one are averaged."
    ),
]


def convert(
    to: To,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...|-", help="Recordings, folders of them, or -.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR|FILE", help="Write here; what is there is not redone.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="Of the files in a folder.")] = Format.wav,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Evaluations of the network a chunk.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo what is there already.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="From the microphone to the speaker, at a constant delay.")
    ] = False,
    others: live_convert.Others = None,
    microphone: live_convert.Microphone = None,
    speaker: live_convert.Speaker = None,
    recording: live_convert.Input = None,
    budget: live_convert.Budget = None,
    buffer: live_convert.Buffer = 60.0,
    gate: live_convert.Gate = -55.0,
    seconds: live_convert.Seconds = None,
    dry: live_convert.Dry = False,
    model: Model = "vc",
    device: recogniser.Device = None,
    threads: synthesiser.Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Convert recordings into another voice, or with --live a voice as it speaks.

    A bad recording is reported at the end and does not stop the rest; DIR/results.jsonl tells of every file what it was
    made of.
    """
    if live:
        if files or out:
            raise typer.BadParameter("--live goes from the microphone, or --input FILE, to the speaker: name no files")
        options = live_convert.Options(microphone, speaker, recording, budget, buffer, gate or None, seconds, dry)
        converter = load(model, device, threads, steps)
        with noted():
            target = take_up(converter, to)
        further = others.split(",") if others else []
        return live_convert.convert_live(converter, [target, *further], options, as_json)
    if not files or out is None:
        raise typer.BadParameter("expected recordings and --out DIR, or --live", param_hint="FILE")
    jobs, folder = planned(named(files), out, form)
    results = None if folder != out else Results(folder)
    asked = {"target": to, "model": model, "steps": steps}
    batch = Batch(verb="converted", folder=folder, as_json=as_json, asked=asked, results=results)
    if not convert_files(batch, jobs, overwrite, lambda: load(model, device, threads, steps)):
        raise typer.Exit(1)


def convert_files(batch: Batch, jobs: list[Job], overwrite: bool, opened: Callable[[], Converter]) -> bool:
    """Convert what is not made yet, and report; whether all went well.

    opened: the converter, asked for only if there is something to do.
    """
    make_folder(batch.folder)
    todo = [job for job in jobs if overwrite or not batch.made(job)]
    batch.skipped = len(jobs) - len(todo)
    with batch.told():
        if todo:
            converter = opened()
            with noted():
                target = take_up(converter, batch.asked["target"])
            if batch.results:
                batch.results.begin([batch.record(job)["file"] for job in todo])
            batch.run(todo, converter, target)
    return not batch.failed


def planned(sources: list[Path], out: Path, form: Format) -> tuple[list[Job], Path]:
    """The jobs of a run and the folder that their files go to: `out`, or that of `out` where it is a file's name.

    Raises SpeechError where one file is named for several recordings, and where a recording would be written over.
    """
    own = out.suffix.lower() in {f".{known}" for known in Format} and not out.is_dir()
    if not own and out.suffix.lower() in AUDIO_SUFFIXES and not out.is_dir():
        raise SpeechError(
            f"expected --out as a folder or a name that ends in .{', .'.join(Format)}, got {out}: change it"
        )
    folder = out.parent if own else out
    jobs = plan(sources, folder, {"sound": f".{form}"})
    if own and len(jobs) > 1:
        raise SpeechError(f"expected a folder for {len(jobs)} recordings, got the file {out}: pass --out DIR")
    if own:
        jobs = [Job(jobs[0].source, {"sound": out})]
    elif out not in sources:  # what an earlier run wrote below a folder of recordings is no recording
        jobs = [job for job in jobs if job.source in sources or out.resolve() not in job.source.resolve().parents]
    for job in jobs:
        if job.outputs["sound"].resolve() == job.source.resolve():
            raise SpeechError(f"expected another --out than {out}, by which {job.source} would be written over")
    return jobs, folder


def load(model: str, device: str | None, threads: int, steps: int | None) -> Converter:
    """A converter as the options say. Raises SpeechError for what the model or the machine does not have."""
    import torch

    from speech.hub.load import load_converter

    torch.set_num_threads(threads)
    return load_converter(model, device, steps=steps)


def take_up(converter: Converter, to: list[str]) -> str:
    """The name of the target that `--to` stands for: one of the converter's, or one made of recordings."""
    if len(to) == 1:
        return converter.take_up(to[0])
    name = " + ".join(to)
    converter.add_target(name, *to)
    return name


@dataclass(kw_only=True)
class Batch(Tally):
    """A run over recordings, which writes each file.

    asked: what all are made with. results: None where a single file is named, which is always made.
    """

    folder: Path
    as_json: bool
    asked: dict[str, Any]
    results: Results | None
    audio: float = 0.0
    busy: float = 0.0

    def record(self, job: Job) -> dict[str, Any]:
        """What a file is made of, as the results keep it: with another recording or target it is made again."""
        changed = job.source.stat().st_mtime if job.source.exists() else None
        file = job.outputs["sound"].relative_to(self.folder).as_posix()
        return {"file": file, "source": str(job.source), "changed": changed, **self.asked}

    def made(self, job: Job) -> bool:
        """Whether an earlier run did this."""
        return self.results is not None and job.source != STANDARD_INPUT and self.results.has(self.record(job))

    def run(self, jobs: list[Job], converter: Converter, target: str) -> None:
        """Convert all jobs under a progress bar on standard error, where that is a terminal."""
        with progress() as bar:
            task = bar.add_task("", total=len(jobs), factor="")
            for number, job in enumerate(jobs, 1):
                bar.update(task, description=f"{number}/{len(jobs)} {job.source.name}")
                try:
                    with noted():
                        seconds = self.convert(job, converter, target)
                    record = {**self.record(job), "seconds": round(seconds, 3)}
                    if self.results:
                        self.results.add(record)
                    self.done += 1
                    if self.as_json:
                        emit(record)
                except (SpeechError, OSError) as error:
                    self.fail(str(job.source), error)
                    if self.as_json:
                        emit({**self.record(job), "error": str(error)})
                factor = f"real-time factor {self.busy / self.audio:.3f}" if self.audio else ""
                bar.update(task, advance=1, factor=factor)

    def convert(self, job: Job, converter: Converter, target: str) -> float:
        """Make one file; returns its length in seconds.

        Of a recording that breaks off there is a file too, of what came before; it is not among the results, so that
        the next run makes it again. What cannot be written is not there at all.
        """
        from speech.audio.writer import Writer

        source, begin = "-" if job.source == STANDARD_INPUT else job.source, time.perf_counter()
        pieces, failure = converter.pieces(source, target), None
        with appearing(job.outputs["sound"]) as part, Writer(part, converter.output_rate) as file:
            while True:
                try:
                    piece = next(pieces)
                except StopIteration:
                    break
                except SpeechError as error:
                    if not file.length:
                        raise
                    failure = error
                    break
                file.write(piece)
        self.busy += time.perf_counter() - begin
        self.audio += file.seconds
        if failure:
            raise SpeechError(f"{failure} (what came before is in {job.outputs['sound']})") from failure
        return file.seconds

    def more(self) -> list[str]:
        return pace(self.audio, self.busy)
