"""What models there are and what is known about them: the verbs of `speech models`."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from speech.errors import SpeechError
from speech.hub.find import (
    BUNDLED,
    BUNDLED_NAMES,
    cached_hub,
    cached_import,
    find,
    hub_cache,
    import_cache,
    import_foreign,
    is_hub_name,
)
from speech.hub.public import is_foreign

PUBLIC = (
    "nvidia/stt_en_fastconformer_hybrid_large_streaming_multi",
    "nvidia/nemotron-speech-streaming-en-0.6b",
    "FunAudioLLM/CosyVoice2-0.5B",
    "openai/whisper-tiny",
    "openai/whisper-large-v3-turbo",
)
"""Well-known hub models that the importer is made for."""


@dataclass(frozen=True)
class Entry:
    """One model of the list.

    name: what `speech.load` takes. path: None while it is only on the hub. size: bytes on disk.
    """

    name: str
    source: Literal["bundled", "hub", "imported"]
    path: str | None
    size: int

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Info:
    """What is known of one model. size: bytes on disk.

    look_aheads (milliseconds), heads, vocabulary: of a recogniser; chunks (milliseconds, none where it was not trained
    to stream): of a Whisper; voices: of a synthesiser; targets, chunk (milliseconds): of a converter. The default comes
    first.
    """

    name: str
    path: str
    family: str
    parameters: int
    sample_rate: int
    licence: str
    summary: str
    size: int
    look_aheads: tuple[int, ...] = ()
    heads: tuple[str, ...] = ()
    vocabulary: int = 0
    chunks: tuple[int, ...] = ()
    voices: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    chunk: int = 0

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def list_models() -> list[Entry]:
    """Bundled models, cached ones, and well-known ones of the hub. Reads folders only."""
    entries = [
        _entry(name, "bundled", BUNDLED / name) for name in BUNDLED_NAMES if (BUNDLED / name / "config.yaml").is_file()
    ]
    fetched = {path.name.replace("--", "/", 1): path for path in _folders(hub_cache())}
    entries += [_entry(name, "hub", path) for name, path in fetched.items()]
    entries += [_entry(str(path), "imported", path) for path in _folders(import_cache())]
    return entries + [Entry(name, "hub", None, 0) for name in PUBLIC if name not in fetched]


def info(name: str | Path) -> Info:
    """Everything known about a model that is here.

    Raises:
        SpeechError: there is no such model, or it is not here yet.
    """
    folder = find(name)
    if folder is None:
        hint = "see `speech models list`"
        if is_foreign(Path(name)):
            hint = f"`speech models import {name}` converts it"
        elif is_hub_name(name):
            hint = f"`speech models pull {name}` fetches it"
        raise SpeechError(f"expected a model that is on this machine, {str(name)!r} is not: {hint}")
    from speech.hub.checkpoint import CARD, count_parameters, read_config

    family, config = read_config(folder)
    licence, summary = read_card(folder / CARD)
    kinds = {"fastconformer": _recogniser, "whisper": _whisper, "synthesiser": _synthesiser, "converter": _converter}
    return Info(
        name=str(name),
        path=str(folder),
        family=family,
        parameters=count_parameters(folder),
        licence=licence,
        summary=summary,
        size=_size(folder),
        **kinds[family](folder, config),
    )


def _recogniser(folder: Path, config: Any) -> dict[str, Any]:
    return {
        "sample_rate": config.mel.sample_rate,
        "look_aheads": tuple(config.look_aheads),
        "heads": ("rnnt",) * (config.prediction is not None) + ("ctc",) * config.ctc,
        "vocabulary": config.vocabulary,
    }


def _whisper(folder: Path, config: Any) -> dict[str, Any]:
    return {
        "sample_rate": config.mel.sample_rate,
        "vocabulary": config.vocabulary,
        "chunks": tuple(context.milliseconds for context in config.contexts if config.causal),
    }


def _synthesiser(folder: Path, config: Any) -> dict[str, Any]:
    from speech.hub.checkpoint import VOICES
    from speech.tts.voice import read_voices

    path = folder / VOICES
    voices = tuple(read_voices(path)) if path.is_file() else ()
    return {"sample_rate": config.vocoder.sample_rate, "voices": voices}


def _converter(folder: Path, config: Any) -> dict[str, Any]:
    from speech.hub.checkpoint import TARGETS
    from speech.vc.voice import read_targets

    path = folder / TARGETS
    targets = tuple(read_targets(path)) if path.is_file() else ()
    return {
        "sample_rate": config.sample_rate,
        "targets": targets,
        "chunk": round(1e3 * config.network.chunk * config.frame),
    }


def pull(name: str) -> Path:
    """Fetch a hub model into the cache, again if it is there already; returns its checkpoint folder."""
    if not is_hub_name(name):
        raise SpeechError(f"expected a hub name such as {PUBLIC[0]}, got {name!r}")
    from speech.hub.download import fetch

    return fetch(name, cached_hub(name))


def import_model(path: str | Path, to: str | Path | None = None) -> Path:
    """Convert a `.nemo` file, a `.pt` file of a Whisper, or a folder of CosyVoice, MeanVC or a Whisper; returns `to`.

    to: the checkpoint folder to make, by default one in the cache.
    """
    path = Path(path).expanduser()
    folder = Path(to).expanduser() if to else cached_import(path)
    return import_foreign(path, folder)


def read_card(path: Path) -> tuple[str, str]:
    """Licence and first paragraph of a model card; empty where it does not say."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    licence = ""
    if text.startswith("---\n"):
        front, _, text = text[4:].partition("\n---")
        with suppress(yaml.YAMLError, TypeError, ValueError):  # a damaged header costs the licence only
            licence = str(dict(yaml.safe_load(front) or {}).get("license", ""))
    paragraphs = (" ".join(block.split()) for block in text.split("\n\n"))
    return licence, next((p for p in paragraphs if p and p[0].isalnum()), "")


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and not p.name.startswith(".")) if parent.is_dir() else []


def _entry(name: str, source: Literal["bundled", "hub", "imported"], path: Path) -> Entry:
    return Entry(name, source, str(path), _size(path))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
