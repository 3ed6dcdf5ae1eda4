"""`speech models`: what models there are, and bringing in others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speech.cli.output import AsJson, emit, table

app = typer.Typer(no_args_is_help=True, help="List, describe, import and fetch models.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the models: bundled, in the cache, and well-known ones of the hub."""
    from speech.hub.models import list_models

    entries = list_models()
    if as_json:
        for entry in entries:
            emit(entry.to_dict())
    else:
        table(
            ("name", "source", "size"),
            [(entry.name, entry.source, _megabytes(entry.size) if entry.path else "not fetched") for entry in entries],
        )


@app.command()
def info(name: Annotated[str, typer.Argument(help="A name of the list or a folder.")], as_json: AsJson = False) -> None:
    """Describe a model that is on this machine."""
    from speech.hub.models import info

    found = info(name)
    if as_json:
        emit(found.to_dict())
        return
    facts = {
        "name": found.name,
        "folder": found.path,
        "family": found.family,
        "parameters": f"{found.parameters / 1e6:.1f} M",
        "size": _megabytes(found.size),
        "sample rate": f"{found.sample_rate} Hz",
        "look-aheads": ", ".join(f"{ahead} ms" for ahead in found.look_aheads),
        "decoders": ", ".join(found.heads),
        "chunks": ", ".join(f"{chunk} ms" for chunk in found.chunks),
        "vocabulary": found.vocabulary,
        "voices": ", ".join(found.voices),
        "targets": ", ".join(found.targets),
        "chunk": found.chunk and f"{found.chunk} ms",
        "licence": found.licence or "not said",
        "about": found.summary or "not said",
    }
    for key, value in facts.items():
        if value:
            print(f"{key + ':':13}{value}")


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="A .nemo file, a Whisper's .pt file, or a folder of CosyVoice, MeanVC or Whisper.")
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", "--output", "-o", help="The checkpoint folder to make; by default one in the cache."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert a foreign model into a checkpoint folder and print its path."""
    from speech.hub.models import import_model

    _made(import_model(source, to), as_json)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A hub name such as owner/model.")],
    as_json: AsJson = False,
) -> None:
    """Fetch a model from the hub, convert it once, keep it in the cache and print its path."""
    from speech.hub.models import pull

    _made(pull(name), as_json)


def _made(folder: Path, as_json: bool) -> None:
    if as_json:
        emit({"path": str(folder)})
    else:
        print(folder)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
