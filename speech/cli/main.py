"""`speech ...`: the command line. Thin over the API; no verb imports torch before it needs a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from speech.cli import align, convert, listen, machine, models, project, say, synthesize, transcribe
from speech.errors import SpeechError


class Verbs(TyperGroup):
    """The group of all verbs. An error becomes one line on standard error and exit code 1, `--debug` shows where.

    Ctrl-C, where a verb makes nothing of it, ends quietly with exit code 130.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, TyperException, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            sentence = " ".join(str(error).split())
            if not isinstance(error, SpeechError):
                sentence = f"unexpected {type(error).__name__}: {sentence} (run `speech --debug ...` for the traceback)"
            print(f"speech: {sentence}", file=sys.stderr)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(transcribe.transcribe)
app.command()(align.align)
app.command()(listen.listen)
app.command()(say.say)
app.command()(synthesize.synthesize)
app.command()(convert.convert)
app.add_typer(models.app, name="models")
app.command()(machine.devices)
app.command()(machine.doctor)
app.command(context_settings=project.PASS_THROUGH)(project.train)
app.command(context_settings=project.PASS_THROUGH)(project.bench)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(version("streaming-speech"))
        except PackageNotFoundError:
            raise typer.BadParameter("the package is not installed: pip install -e .", param_hint="--version") from None
        raise typer.Exit


@app.callback()
def speech(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Streaming speech: words appear while you speak."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line on `argv` (default: the process's own arguments); ends in `SystemExit`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file's name need not be text: print it escaped, and go on
            stream.reconfigure(errors="backslashreplace")
    app(args=argv, prog_name="speech")
