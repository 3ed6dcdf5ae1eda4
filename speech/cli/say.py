"""`speech say`: a text, or text as it arrives, to the speaker or a file."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from speech.cli import recogniser, synthesiser
from speech.cli.outlet import Outlet, sink, terminable
from speech.cli.output import AsJson, emit, note, noted
from speech.cli.synthesiser import Timings
from speech.errors import SpeechError

if TYPE_CHECKING:
    from speech.tts.session import Speech
    from speech.tts.synthesiser import Stream

BLOCK = 1 << 16  # bytes of text that are read at a time, at most


def say(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT...|-", help="What to say; - says what is piped or typed in.")
    ] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", metavar="FILE", help="Say a text file, UTF-8.")] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE|-", help="Write a .wav, .flac, .mp3, .ogg or .opus; - pipes WAV."),
    ] = None,
    voice: Annotated[
        str | None, typer.Option("--voice", metavar="NAME|FILE", help="One of the model's, or a recording to be like.")
    ] = None,
    voice_text: Annotated[
        str, typer.Option("--voice-text", metavar="TEXT", help="What is said in the recording of --voice.")
    ] = "",
    speed: synthesiser.Speed = 1.0,
    seed: Annotated[int | None, typer.Option("--seed", help="The same one says the same text the same way.")] = None,
    no_markup: synthesiser.NoMarkup = False,
    normaliser: synthesiser.Normaliser = None,
    speaker: Annotated[
        str | None, typer.Option(metavar="NAME|NUMBER", help="One of `speech devices`; by default the system's.")
    ] = None,
    model: synthesiser.Model = "tts",
    device: recogniser.Device = None,
    threads: synthesiser.Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Speak a text. What is piped in is spoken while it still arrives; Ctrl-C ends it at once."""
    texts, typed = _texts(words or [], file)
    _check(out, speaker, as_json)
    if voice_text and voice is None:
        raise typer.BadParameter("it is what is said in the recording of --voice: give both", param_hint="--voice-text")
    synthesizer = synthesiser.load(model, device, threads, normaliser)
    with noted():
        name = synthesizer.take_up(voice, voice_text)
    timings, opened = Timings(), False

    def stream(text: Iterable[str]) -> Stream:
        return synthesizer.stream(timings.arriving(text), name, speed=speed, seed=seed, markup=not no_markup)

    try:
        target = sink(out, speaker, synthesizer.sample_rate)
        with terminable(), Outlet(target, live=out in (None, "-")) as outlet:
            opened = True
            for text in texts:
                try:
                    _speak(stream(text), outlet, timings, as_json)
                except SpeechError as error:
                    if not typed:
                        raise
                    note(str(error))
    except KeyboardInterrupt:
        note("stopped")
        raise typer.Exit(130) from None
    finally:
        _end(timings, out if opened else None, as_json)


def _check(out: str | None, speaker: str | None, as_json: bool) -> None:
    if out is not None and speaker is not None:
        raise typer.BadParameter("sound goes to a file or to a speaker: give one of the two", param_hint="--speaker")
    if out == "-" and (as_json or sys.stdout.isatty()):
        what = "--json writes there too" if as_json else "it is a terminal, pipe it into another program"
        raise typer.BadParameter(f"standard output cannot take the sound: {what}", param_hint="--out")


def _speak(stream: Stream, outlet: Outlet, timings: Timings, as_json: bool) -> None:
    """Pass one stream's sound on as it is made."""
    begun = timings.audio
    try:
        with stream:
            for part in stream:
                start = timings.audio
                timings.heard(part.seconds)
                outlet.write(part.samples)
                if as_json:
                    emit(_chunk(part, start, begun))
    finally:
        for warning in stream.warnings:
            note(warning)
        timings.add(stream.stages)


def _chunk(part: Speech, start: float, begun: float) -> dict[str, Any]:
    """A sound as plain data. start, begun: seconds at which it and its text begin."""
    words = [word.to_dict(begun) for word in part.words]
    return {"type": "chunk", "start": round(start, 3), "duration": round(part.seconds, 3), "words": words}


def _end(timings: Timings, out: str | None, as_json: bool) -> None:
    """Tell what it took; a file into which no sound has come is taken away again."""
    if timings.audio:
        if as_json:
            emit(timings.to_dict())
        else:
            note(str(timings))
    elif out not in (None, "-"):
        Path(out).unlink(missing_ok=True)


def _texts(words: list[str], file: str | None) -> tuple[Iterator[Iterable[str]], bool]:
    """What is to be said: one text, in pieces as they come, or (True) every line of a terminal as a text of its own."""
    if bool(words) == bool(file):
        raise typer.BadParameter("expected either a text, - or --file FILE", param_hint="TEXT")
    if file is None and words != ["-"]:
        return iter([[" ".join(words)]]), False
    if file not in (None, "-"):
        return iter([_file(Path(file))]), False
    if sys.stdin is None:
        raise SpeechError("expected text on standard input, but it is closed: pipe some into it")
    pieces = _decoded(getattr(sys.stdin.buffer, "raw", sys.stdin.buffer), "standard input")
    if not sys.stdin.isatty():
        return iter([pieces]), False
    note("every line is spoken as you end it, Ctrl-D ends")
    return ([line] for line in pieces if line.strip()), True


def _file(path: Path) -> Iterator[str]:
    """The text of a file, which is opened at once."""
    try:
        raw = path.open("rb", buffering=0)
    except OSError as error:
        raise SpeechError(f"expected a text file, but '{path}': {error.strerror}; check the path") from error

    def text() -> Iterator[str]:
        with raw:
            yield from _decoded(raw, f"'{path}'")

    return text()


def _decoded(raw: BinaryIO, name: str) -> Iterator[str]:
    """The text of an unbuffered stream of UTF-8, as it comes. Raises SpeechError for other bytes, behind all before."""
    decoder, size = codecs.getincrementaldecoder("utf-8-sig")(), 0
    ended = False
    while not ended:
        block = raw.read(BLOCK)
        ended = not block
        try:
            text = decoder.decode(block, final=ended)
        except UnicodeDecodeError as error:
            yield error.object[: error.start].decode("utf-8", "ignore")
            where = size - (len(error.object) - len(block)) + error.start
            raise SpeechError(f"expected UTF-8 text from {name}, got other bytes at {where}: convert it") from None
        size += len(block)
        if text:
            yield text
