"""Stage `pack`: the training speech and what was learnt from it in one small folder, to train on another machine."""

from __future__ import annotations

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile
from lhotse import MonoCut

from recipes.asr_small.prepare import training_corpora
from recipes.asr_small.settings import Settings
from recipes.common.cache import RATE, AudioCache
from recipes.common.prepare import cache
from speech.errors import SpeechError

log = logging.getLogger(__name__)

LOWEST, HIGHEST = 6000, 250_000  # bit/s at libsndfile's Opus compression levels 1 and 0


def pack(settings: Settings) -> None:
    """Write `work`/packed: a work folder with tokenizer and word times, and corpora as Ogg Opus for its data.root."""
    rate, folder = settings.raw.pack.bitrate, settings.work / "packed"
    if not LOWEST <= rate <= HIGHEST:
        raise SpeechError(f"expected pack.bitrate between {LOWEST} and {HIGHEST} bit/s, got {rate}")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "audio").mkdir(parents=True)
    if settings.tokenizer.is_file():
        shutil.copy(settings.tokenizer, folder)
    places = {name: folder / "data" / name for name in settings.raw.data.train}
    if "synthetic" in training_corpora(settings):
        places["synthetic"] = folder / "synthetic"
    if cache(settings, "noise").ready:
        places["noise"] = folder / "data" / Path(settings.raw.data.noise).name
    for name, place in places.items():
        audio = cache(settings, name)
        if audio.words.is_file():
            shutil.copy(audio.words, folder / "audio")
        write(audio, place, rate, settings.raw.trainer.workers or 1)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 2**20:.1f} MiB", flush=True)


def write(audio: AudioCache, folder: Path, rate: int, workers: int) -> None:
    """One corpus with a manifest. rate: bit/s; Opus takes some more or less, as the sound asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    level = (HIGHEST - rate) / (HIGHEST - LOWEST)

    def encode(item: tuple[int, MonoCut]) -> dict[str, str | float | int | None]:
        number, cut = item
        samples, spoken, name = audio.audio(cut), cut.supervisions[0], f"{number}.opus"
        soundfile.write(folder / name, samples, RATE, format="OGG", subtype="OPUS", compression_level=level)
        row = {"id": cut.id, "audio": name, "text": spoken.text, "speaker": spoken.speaker}
        return {**row, "duration": len(samples) / RATE, "sample_rate": RATE}

    with (folder / "manifest.jsonl").open("w", encoding="utf-8") as file, ThreadPoolExecutor(workers) as pool:
        for row in pool.map(encode, enumerate(audio.cuts())):
            file.write(json.dumps(row) + "\n")
