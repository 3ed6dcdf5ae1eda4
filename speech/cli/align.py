"""`speech align`: when each word of a known text is said in a recording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from speech.cli import recogniser as options
from speech.cli.output import AsJson, emit, table
from speech.cli.transcribe import Format
from speech.errors import SpeechError


def align(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A recording, or - for standard input.")],
    text: Annotated[str | None, typer.Option("--text", "-t", metavar="TEXT", help="What is said in it.")] = None,
    text_file: Annotated[
        Path | None, typer.Option("--text-file", metavar="FILE", help="A text file that says it, UTF-8.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="By default a table of words; times are in seconds.")
    ] = None,
    model: options.Model = "asr",
    device: options.Device = None,
    threads: options.Threads = None,
    raw: options.Raw = None,
    channel: options.Which = None,
    as_json: AsJson = False,
) -> None:
    """Find when each word of a known text is said. Its lines are the segments of what is written, such as captions."""
    if (text is None) == (text_file is None):
        raise typer.BadParameter("expected either --text TEXT or --text-file FILE", param_hint="--text")
    if form and as_json:
        raise typer.BadParameter("expected either a format or --json, one object a line", param_hint="--format")
    known = read(text_file) if text_file else text or ""
    headerless, which = options.pcm(raw), options.channel(channel)
    recogniser = options.load(model, device, threads)

    from speech.asr.formats import write
    from speech.asr.recogniser import Recogniser

    if not isinstance(recogniser, Recogniser):
        raise SpeechError(f"expected a model with a CTC head for alignment, {model} has none: choose another --model")
    transcript = recogniser.align(Path(file), known, pcm=headerless, channel=which)
    if as_json:
        emit({"file": file, **transcript.to_dict()})
    elif form:
        sys.stdout.write(write(transcript, form))
    else:
        rows = [(f"{w.start:.2f}", f"{w.end:.2f}", f"{w.confidence:.2f}", w.text) for w in transcript.words]
        table(("start", "end", "confidence", "word"), rows)


def read(path: Path) -> str:
    """A text file. Raises SpeechError for one that cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpeechError(f"expected a text file, but '{path}': {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise SpeechError(f"expected UTF-8 text in '{path}', got other bytes at {error.start}: convert it") from error
