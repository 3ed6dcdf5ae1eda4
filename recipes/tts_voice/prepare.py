"""Stage `prepare`: the folder's recordings as a corpus of one reading voice, decoded once."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from recipes.common.text import normalise
from recipes.tts_small.evaluate import LONGEST
from recipes.tts_small.prepare import prepare as decode
from recipes.tts_voice.folder import Usable, recordings, usable
from recipes.tts_voice.settings import VoiceSettings
from speech.errors import SpeechError

log = logging.getLogger(__name__)

TEST = 20
"""One recording of so many is said anew by stage `evaluate`, and not trained on; one at least."""


def prepare(settings: VoiceSettings) -> None:
    """List what can be trained on and what is said anew, tell what was left out and why, and decode.

    Raises SpeechError where the folder holds too little speech.
    """
    folder = Path(settings.raw.folder).expanduser()
    rows, faults = usable(recordings(folder))
    for fault in faults:
        log.warning("%s", fault)
    train, test = split(rows)
    enough(sum(row.seconds for row in train), settings, f"in {folder} ({len(rows)} recordings, {len(faults)} left out)")
    for name, part in (("train", train), ("test", test)):
        write(settings.work / "corpus" / name / "manifest.jsonl", part, settings.raw.voice)
    decode(settings)


def split(rows: list[Usable]) -> tuple[list[Usable], list[Usable]]:
    """Recordings for training, and those that are held out of it. Raises SpeechError where all are long."""
    short = [row for row in rows if len(normalise(row.recording.text).split()) <= LONGEST]
    if rows and not short:
        raise SpeechError(f"expected a recording of at most {LONGEST} words to judge by, found none: cut some in two")
    test = short[TEST // 2 :: TEST] or short[-1:]
    names = {row.recording.id for row in test}
    return [row for row in rows if row.recording.id not in names], test


def enough(seconds: float, settings: VoiceSettings, where: str) -> None:
    """Raise SpeechError where there are fewer seconds to train on than `least`."""
    if seconds < settings.raw.least:
        raise SpeechError(
            f"expected at least {settings.raw.least:g} s of speech to train on {where}, got {seconds:.1f} s: "
            "record more"
        )


def write(manifest: Path, rows: list[Usable], voice: str) -> None:
    """Write a corpus; one that has not changed is left as it is, and so is what was made from it."""
    lines = (
        {
            "id": row.recording.id,
            "audio": str(row.recording.audio.resolve()),
            "text": row.recording.text,
            "speaker": voice,
            "duration": row.seconds,
            "sample_rate": row.rate,
        }
        for row in rows
    )
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    if not manifest.is_file() or manifest.read_text(encoding="utf-8") != text:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(text, encoding="utf-8")
