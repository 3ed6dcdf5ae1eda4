"""Corpora on disk as lhotse cuts: folders with a JSON-lines manifest, and the standard LibriSpeech layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import soundfile
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment

from recipes.common.text import normalise
from speech.errors import SpeechError


def read_corpus(folder: Path, layout: str) -> CutSet:
    """One corpus as cuts with normalised text, sorted by id.

    layout: "manifest" (`manifest.jsonl` with id, audio, text, speaker, duration, sample_rate on every line; audio
    is relative to the folder) or "librispeech" (speaker/chapter folders with *.trans.txt and FLAC files).
    Raises SpeechError for a folder that has neither, and for a line or a recording that is not as it should be.
    """
    readers = {"manifest": _read_manifest, "librispeech": _read_librispeech}
    if layout not in readers:
        raise SpeechError(f"expected data.layout to be one of {sorted(readers)}, got {layout!r}")
    cuts = sorted(readers[layout](folder), key=lambda cut: cut.id)
    if not cuts:
        raise SpeechError(f"expected speech in {folder} (layout {layout}), found none: check data.root and data.layout")
    return CutSet.from_cuts(cuts)


def written(folder: Path, layout: str) -> dict[str, str]:
    """By the id of an utterance its text as it stands in the corpus, punctuation and all. See `read_corpus`."""
    return {cut.id: cut.supervisions[0].custom["written"] for cut in read_corpus(folder, layout)}  # type: ignore[index]


def _read_manifest(folder: Path) -> Iterator[MonoCut]:
    manifest = folder / "manifest.jsonl"
    if not manifest.is_file():
        raise SpeechError(f"expected a JSON-lines manifest at {manifest}, found none: check data.root")
    with manifest.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                rate = int(row.get("sample_rate") or 16000)
                yield _cut(row["id"], folder / row["audio"], rate, row["duration"], row.get("text"), row.get("speaker"))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise SpeechError(
                    f"expected id, audio and duration in line {number} of {manifest}: {error!r}"
                ) from error


def _read_librispeech(folder: Path) -> Iterator[MonoCut]:
    for transcript in folder.glob("*/*/*.trans.txt"):
        for line in transcript.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            audio = transcript.parent / f"{name}.flac"
            try:
                info = soundfile.info(audio)
            except soundfile.LibsndfileError as error:
                raise SpeechError(
                    f"expected the recording {audio} that {transcript.name} speaks of, it cannot be read: {error}"
                ) from error
            yield _cut(name, audio, info.samplerate, info.duration, text, name.split("-")[0])


def _cut(name: str, audio: Path, rate: int, seconds: float, text: str | None, speaker: str | None) -> MonoCut:
    recording = Recording(
        id=name,
        sources=[AudioSource("file", [0], str(audio))],
        sampling_rate=rate,
        num_samples=round(seconds * rate),
        duration=seconds,
    )
    words = normalise(text or "")
    spoken = SupervisionSegment(name, name, 0.0, seconds, text=words, speaker=speaker, custom={"written": text or ""})
    return MonoCut(name, 0.0, seconds, 0, supervisions=[spoken], recording=recording)
