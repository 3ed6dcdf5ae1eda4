"""`speech transcribe`: recordings to text files, or to standard output."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech.cli import recogniser as options
from speech.cli.batch import STANDARD_INPUT, Job, Tally, make_folder, named, pace, plan, write_whole
from speech.cli.output import AsJson, emit, progress
from speech.errors import SpeechError

if TYPE_CHECKING:
    from speech.asr.events import Transcript
    from speech.asr.recogniser import Recogniser
    from speech.asr.whisper.recogniser import WhisperRecogniser
    from speech.audio.file import Channel, Pcm


class Format(StrEnum):
    """What a transcript can be written as."""

    text = "text"
    json = "json"
    srt = "srt"
    vtt = "vtt"

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return ".txt" if self is Format.text else f".{self}"


def transcribe(
    files: Annotated[list[str], typer.Argument(metavar="FILE...|-", help="Recordings, folders of them, or -.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write files here; what is there is not redone."),
    ] = None,
    forms: Annotated[
        list[Format] | None, typer.Option("--format", "-f", help="May be given several times.", show_default="text")
    ] = None,
    model: options.Model = "asr",
    look_ahead: options.LookAhead = None,
    decoder: options.Decoder = None,
    chunk: options.Chunk = None,
    language: options.Language = None,
    task: options.Task = None,
    beam: options.Beam = None,
    prompt: options.Prompt = None,
    device: options.Device = None,
    threads: options.Threads = None,
    raw: options.Raw = None,
    channel: options.Which = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo what is there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Transcribe recordings. A bad one is reported at the end and does not stop the rest."""
    chosen = list(dict.fromkeys(forms or [Format.text]))
    jobs = plan(named(files), output, {form: form.suffix for form in chosen})
    if output is None and len(chosen) > 1:
        raise typer.BadParameter("several formats need a folder to write to: --output DIR", param_hint="--format")
    if output is None and len(jobs) > 1 and not as_json and chosen != [Format.text]:
        raise typer.BadParameter("several recordings need --output DIR or --json", param_hint="--format")
    headerless, which = options.pcm(raw), options.channel(channel)
    batch, todo = Batch(verb="transcribed", forms=chosen, as_json=as_json, heading=len(jobs) > 1), []
    for job in jobs:
        if job.done and not overwrite:
            batch.skip(job)
        else:
            todo.append(job)
    with batch.told():
        if todo:
            if output:
                make_folder(output)
            asked = {"chunk": chunk, "language": language, "task": task, "beam": beam, "prompt": prompt}
            recogniser = options.load(model, device, threads, look_ahead=look_ahead, decoder=decoder, **asked)
            batch.run(todo, recogniser, headerless, which)
    if batch.failed:
        raise typer.Exit(1)


@dataclass(kw_only=True)
class Batch(Tally):
    """A run over recordings, which writes or prints each transcript."""

    forms: list[Format]
    as_json: bool
    heading: bool
    audio: float = 0.0
    busy: float = 0.0

    def run(
        self,
        jobs: list[Job],
        recogniser: Recogniser | WhisperRecogniser,
        pcm: Pcm | None = None,
        channel: Channel = None,
    ) -> None:
        """Transcribe all jobs under a progress bar on standard error, where that is a terminal."""
        with progress() as bar:
            for number, job in enumerate(jobs, 1):
                name = f"{number}/{len(jobs)} {job.source.name}"
                task = bar.add_task(name, total=None if pcm else _seconds(job.source, channel), factor="")
                before, begin = self.busy, time.perf_counter()

                def advance(seconds: float, task: Any = task, before: float = before, begin: float = begin) -> None:
                    self.busy = before + time.perf_counter() - begin
                    factor = self.busy / (self.audio + seconds) if self.audio + seconds else 0.0
                    bar.update(task, completed=seconds, factor=f"real-time factor {factor:.3f}")

                try:
                    transcript = recogniser.transcribe(job.source, pcm=pcm, channel=channel, progress=advance)
                    advance(transcript.duration)
                    self.audio += transcript.duration
                    self.keep(job, transcript)
                    self.done += 1
                except BrokenPipeError:  # nobody reads on
                    raise
                except (SpeechError, OSError) as error:
                    if transcript := getattr(error, "transcript", None):  # `Interrupted`: the words up to there stay
                        self.keep(job, transcript)
                    self.fail(str(job.source), error)
                    if self.as_json:
                        emit({"file": str(job.source), "error": str(error)})
                bar.remove_task(task)

    def skip(self, job: Job) -> None:
        """Count a job that an earlier run did."""
        self.skipped += 1
        if self.as_json:
            emit({"file": str(job.source), "skipped": True, "outputs": _paths(job)})

    def keep(self, job: Job, transcript: Transcript) -> None:
        """Write or print one transcript."""
        from speech.asr.formats import write

        for form in self.forms:
            if job.outputs:
                write_whole(job.outputs[form], write(transcript, form))
            elif not self.as_json:
                heading = f"{job.source}:\n" if self.heading else ""
                sys.stdout.write(heading + write(transcript, form))
                sys.stdout.flush()
        if self.as_json:
            emit({"file": str(job.source), "outputs": _paths(job), **transcript.to_dict()})

    def more(self) -> list[str]:
        return pace(self.audio, self.busy)


def _seconds(source: Path, channel: Channel) -> float | None:
    """Length of a recording by its header; None where there is no telling."""
    from speech.audio.file import Reader

    if source == STANDARD_INPUT or not source.is_file():
        return None
    try:
        with Reader(source, channel=channel) as reader:
            return reader.seconds
    except SpeechError:
        return None


def _paths(job: Job) -> list[str]:
    return [str(path) for path in job.outputs.values()]
