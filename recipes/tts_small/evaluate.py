"""Stage `evaluate`: sentences that were not in training, said by every voice, heard by two recognisers, and timed."""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import NamedTuple

import jiwer
import numpy as np
import soundfile
import soxr
import torch

from recipes.common.cache import RATE
from recipes.common.prepare import cache
from recipes.common.text import normalise
from recipes.tts_small.assemble import synthesiser
from recipes.tts_small.copy_synthesis import recognise, table
from recipes.tts_small.settings import Settings
from speech.errors import SpeechError
from speech.hub.load import load_recogniser
from speech.tts.synthesiser import Synthesiser

log = logging.getLogger(__name__)

FLITE = "slt"
"""The voice of flite (Black and Lenzo 2001) that says the same sentences."""


class Sentence(NamedTuple):
    """What is to be said, normalised; and a recording of it, [n] at 16 kHz."""

    text: str
    recording: np.ndarray


class Speed(NamedTuple):
    """Seconds of computing for a second of speech, and milliseconds until the first sound, by sentence."""

    factors: list[float]
    first: list[float]


def evaluate(settings: Settings) -> None:
    """Score voices, flite and the recordings, print a table and write `scores.json` into the work folder.

    The first voice says all sentences, every other one a fifth of them. Times are those of one thread.
    """
    options, speaks = settings.raw.evaluation, synthesiser(settings)
    rows = sentences(settings, options.spoken)
    scores: dict[str, dict[str, float]] = {}
    for voice in speaks.voices:
        some = rows if voice == speaks.voices[0] else rows[::5]
        with one_thread():
            said, speed = say(speaks, voice, some, settings.raw.seed)
        rates = {"real_time_factor": median(speed.factors), "first_sound_ms": median(speed.first)}
        scores[voice] = errors(said, some, options.recogniser) | rates
        log.info("%s: %s", voice, scores[voice])
    scores["recordings"] = errors([row.recording for row in rows], rows, options.recogniser)
    if which("flite"):
        scores[f"flite {FLITE}"] = errors([flite(row.text) for row in rows], rows, options.recogniser)
    (settings.work / "scores.json").write_text(json.dumps(scores, indent=1))
    print(table(scores), flush=True)


def sentences(settings: Settings, count: int) -> list[Sentence]:
    """Sentences of the evaluation corpora, of no more than 25 words, evenly spread over them: always the same."""
    found = []
    for name in settings.raw.data.evaluation:
        audio = cache(settings, name)
        rows = [(cut.supervisions[0].text or "", audio, cut) for cut in audio.cuts()]
        found += [row for row in rows if 0 < len(row[0].split()) <= 25]
    chosen = [found[i * len(found) // count] for i in range(count)] if len(found) > count else found
    return [Sentence(text, audio.audio(cut)) for text, audio, cut in chosen]


def say(speaks: Synthesiser, voice: str, rows: list[Sentence], seed: int) -> tuple[list[np.ndarray], Speed]:
    """Every sentence as samples [n] at 16 kHz, and how long it took. A sentence of its own warms the machine up."""
    utter(speaks, voice, "One.", seed)
    said, speed = [], Speed([], [])
    for row in rows:
        samples, first, seconds = utter(speaks, voice, f"{row.text.capitalize()}.", seed)
        speed.first.append(1e3 * first)
        speed.factors.append(seconds / (len(samples) / speaks.sample_rate))
        said.append(soxr.resample(samples, speaks.sample_rate, RATE))
    return said, speed


def utter(speaks: Synthesiser, voice: str, text: str, seed: int) -> tuple[np.ndarray, float, float]:
    """Samples [n], and seconds until the first of them and until the last. Where nothing comes, a moment of silence."""
    begun, first, parts = time.perf_counter(), 0.0, []
    try:
        with speaks.stream(text, voice, seed=seed) as stream:
            for part in stream:
                first = first or time.perf_counter() - begun
                parts.append(part.samples)
    except SpeechError as error:
        log.warning("%s said nothing of %r: %s", voice, text, error)
        parts.append(np.zeros(speaks.sample_rate // 10, np.float32))
    return np.concatenate(parts), first, time.perf_counter() - begun


def errors(said: list[np.ndarray], rows: list[Sentence], recogniser: str | None) -> dict[str, float]:
    """Word error rates in percent under pocketsphinx and, if it is named, a recogniser of ours; and mean seconds."""
    meant = [row.text for row in rows]
    seconds = float(np.mean([len(x) for x in said])) / RATE
    result = {"sentences": float(len(rows)), "seconds": round(seconds, 2)}
    result["wer_pocketsphinx"] = round(100 * jiwer.wer(meant, recognise(said)), 1)
    if recogniser:
        model = load_recogniser(recogniser)
        heard = [normalise(model.transcribe(x.astype(np.float32), RATE).text) for x in said]
        result["wer_ours"] = round(100 * jiwer.wer(meant, heard), 1)
    return result


def flite(text: str) -> np.ndarray:
    """A sentence as flite says it, [n] at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "said.wav"
        subprocess.run(["flite", "-voice", FLITE, "-t", f"{text}.", "-o", str(wav)], check=True, capture_output=True)
        samples, rate = soundfile.read(wav, dtype="float32")
    return soxr.resample(samples, rate, RATE)


def median(values: list[float]) -> float:
    return round(float(np.median(values)), 3)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one core within the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
