"""Stage `synthesize`: text corpora read aloud by espeak-ng, flite and festival, as a corpus with a manifest."""

from __future__ import annotations

import gzip
import json
import logging
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile
import soxr

from recipes.asr_small.settings import Settings
from recipes.common.cache import RATE
from recipes.common.text import normalise
from speech.errors import SpeechError

log = logging.getLogger(__name__)

ACCENTS = "en-us en-gb en-gb-scotland en-gb-x-rp en-gb-x-gbclan en-029 en-us-nyc".split()
VARIANTS = "m1 m2 m3 m4 m5 m7 f1 f2 f3 f4 f5 Andy Annie steph linda Alex".split()
ESPEAK = [f"{accent}+{variant}" for accent in ACCENTS for variant in VARIANTS]
FLITE = ["kal16", "awb", "rms", "slt"]
FESTIVAL = ["kal_diphone", "cmu_us_slt_arctic_hts"]
SHARES = {"flite": 0.5, "espeak-ng": 0.35, "festival": 0.15}
PROGRAMS = {"flite": "flite", "espeak-ng": "espeak-ng", "festival": "text2wave"}


@dataclass(frozen=True)
class Reading:
    """One sentence in one voice. pitch and rate are factors around 1."""

    id: str
    text: str
    engine: str
    voice: str
    pitch: float
    rate: float

    def command(self, wav: Path, text: Path) -> list[str]:
        """The program that reads the file `text` into the file `wav`."""
        if self.engine == "espeak-ng":
            pitch, words = round(50 * self.pitch), round(165 * self.rate)
            return ["espeak-ng", "-v", self.voice, "-p", str(pitch), "-s", str(words), "-w", str(wav), "-f", str(text)]
        if self.engine == "flite":
            mean = round({"slt": 175, "awb": 140}.get(self.voice, 110) * self.pitch)
            options = ["--setf", f"duration_stretch={1 / self.rate:.3f}", "--seti", f"int_f0_target_mean={mean}"]
            return ["flite", "-voice", self.voice, *options, "-f", str(text), "-o", str(wav)]
        stretch = f"(Parameter.set 'Duration_Stretch {1 / self.rate:.3f})"
        return ["text2wave", str(text), "-o", str(wav), "-eval", f"(voice_{self.voice})", "-eval", stretch]


def synthesize(settings: Settings) -> None:
    """Render `synthesis.utterances` sentences into the work folder's `synthetic`; sentences that are there are kept.

    Raises SpeechError when a program is not installed (see setup.sh).
    """
    lacking = [program for program in PROGRAMS.values() if shutil.which(program) is None]
    if lacking:
        raise SpeechError(f"expected {', '.join(lacking)} to be installed: run recipes/asr_small/setup.sh")
    options, folder = settings.raw.synthesis, settings.synthetic
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.jsonl"
    done = {json.loads(line)["id"] for line in manifest.open()} if manifest.is_file() else set()
    root = Path(settings.raw.data.root)
    wanted = readings([root / path for path in settings.raw.data.text], options.utterances, settings.raw.seed)
    todo = [reading for reading in wanted if reading.id not in done]
    log.info("rendering %d sentences, %d are there", len(todo), len(done))
    with manifest.open("a", encoding="utf-8") as file, ThreadPoolExecutor(options.workers) as pool:
        for row in pool.map(lambda reading: render(reading, folder), todo):
            if row is not None:
                file.write(json.dumps(row) + "\n")
                file.flush()


def readings(texts: list[Path], count: int, seed: int) -> Iterator[Reading]:
    """`count` sentences drawn evenly from the texts, each with a voice, the same for the same seed."""
    rng = random.Random(seed)
    pools = [sorted(set(sentences(path))) for path in texts]
    if not any(pools):
        raise SpeechError(f"expected sentences in data.text, found none in {[str(path) for path in texts]}")
    for number in range(count):
        engine = rng.choices(list(SHARES), list(SHARES.values()))[0]
        voice = rng.choice({"espeak-ng": ESPEAK, "flite": FLITE, "festival": FESTIVAL}[engine])
        text = rng.choice(pools[number % len(pools)])
        yield Reading(f"{seed}-{number:06d}", text, engine, voice, rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.2))


def sentences(path: Path) -> Iterator[str]:
    """Sentences of 3 to 30 words whose spelling leaves no doubt how they are read (no digits or symbols)."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            plain = line.strip()
            if 3 <= len(plain.split()) <= 30 and not any(c.isdigit() or c in "*&[]{}=/$_" for c in plain):
                yield plain.lower() if plain.isupper() else plain


def render(reading: Reading, folder: Path) -> dict[str, str | float | int] | None:
    """Read one sentence into an Ogg Opus file at 16 kHz; its manifest row, or None where the program failed."""
    with tempfile.TemporaryDirectory() as place:
        wav, text = Path(place) / "out.wav", Path(place) / "in.txt"
        text.write_text(
            reading.text + "\n", encoding="latin-1" if reading.engine == "festival" else "utf-8", errors="replace"
        )
        try:
            subprocess.run(reading.command(wav, text), check=True, capture_output=True, timeout=60)
            samples, rate = soundfile.read(wav, dtype="float32")
        except (subprocess.SubprocessError, soundfile.LibsndfileError) as error:
            log.warning("left out %s (%s %s): %s", reading.id, reading.engine, reading.voice, error)
            return None
    if rate != RATE:
        samples = soxr.resample(samples, rate, RATE)
    if len(samples) < RATE // 4:
        return None
    name = f"{reading.id}.opus"
    soundfile.write(folder / name, 0.9 * samples / max(abs(samples).max(), 1e-3), RATE, format="OGG", subtype="OPUS")
    return {
        "id": f"{reading.id}",
        "audio": name,
        "text": normalise(reading.text),
        "speaker": f"{reading.engine} {reading.voice}",
        "duration": round(len(samples) / RATE, 3),
        "sample_rate": RATE,
    }
