"""Stage `evaluate`: sentences that were not in training, said by every voice, judged by others, and timed."""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
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
from recipes.common.judges import can_judge, naturalness, recognise, speaker_vectors, voice_vector
from recipes.common.prepare import cache, held_out
from recipes.common.text import normalise
from recipes.tts_small.assemble import assemble, speaking
from recipes.tts_small.copy_synthesis import table
from recipes.tts_small.pools import speaker
from recipes.tts_small.settings import Settings
from speech.errors import SpeechError
from speech.hub.load import load_recogniser
from speech.tts.synthesiser import Synthesiser

log = logging.getLogger(__name__)

FLITE = "slt"
"""The voice of flite (Black and Lenzo 2001) that says the same sentences."""

LONGEST = 25
"""Words of a sentence, at the most."""

REFERENCES = 10
"""Recordings by which a speaker is known."""


class Sentence(NamedTuple):
    """What is to be said, normalised; and a recording of it, [n] at 16 kHz."""

    text: str
    recording: np.ndarray


class Said(NamedTuple):
    """A sentence as a voice said it: samples [n]; the first sample of every part but the first; seconds it took."""

    samples: np.ndarray
    joints: list[int]
    first: float
    seconds: float


def evaluate(settings: Settings) -> None:
    """Score voices, flite and the recordings, print a table and write `scores.json` into the work folder.

    The first voice says all sentences, every other one a fifth of them. Times are those of one thread.
    """
    options, (speaks, _) = settings.raw.evaluation, speaking(settings, assemble(settings)[0])
    rows, owners = sentences(settings, options.spoken), readers(settings)
    scores: dict[str, dict[str, float]] = {}
    for voice in speaks.voices:
        some = rows if voice == speaks.voices[0] else rows[::5]
        with one_thread():
            said = say(speaks, voice, some, settings.raw.seed)
        signals = [soxr.resample(x.samples, speaks.sample_rate, RATE) for x in said]
        scores[voice] = heard(signals, some, options.recogniser) | likeness(signals, voice, owners)
        scores[voice] |= pace(said, speaks.sample_rate)
        log.info("%s: %s", voice, scores[voice])
    scores["recordings"] = heard([row.recording for row in rows], rows, options.recogniser)
    if which("flite"):
        scores[f"flite {FLITE}"] = heard([flite(row.text) for row in rows], rows, options.recogniser)
    (settings.work / "scores.json").write_text(json.dumps(scores, indent=1))
    print(table(scores), flush=True)


def sentences(settings: Settings, count: int) -> list[Sentence]:
    """Sentences of the evaluation corpora, of at most `LONGEST` words, evenly spread over them: always the same."""
    found = []
    for name in settings.raw.data.evaluation:
        audio = cache(settings, name)
        rows = [(cut.supervisions[0].text or "", audio, cut) for cut in audio.cuts()]
        found += [row for row in rows if 0 < len(row[0].split()) <= LONGEST]
    chosen = [found[i * len(found) // count] for i in range(count)] if len(found) > count else found
    return [Sentence(text, audio.audio(cut)) for text, audio, cut in chosen]


def readers(settings: Settings) -> dict[str, np.ndarray]:
    """By speaker of the reading corpora, who it is to Resemblyzer, from recordings held out where there are such.

    Empty where Resemblyzer is not installed.
    """
    if not can_judge("resemblyzer"):
        return {}
    found: dict[str, list[np.ndarray]] = {}
    for name in settings.raw.data.reading:
        audio = cache(settings, name)
        for cut in sorted(audio.cuts(), key=lambda cut: not held_out(cut)):
            of = found.setdefault(speaker(cut), [])
            if len(of) < REFERENCES:
                of.append(audio.audio(cut))
    return {name: voice_vector(speaker_vectors(signals)) for name, signals in found.items()}


def say(speaks: Synthesiser, voice: str, rows: list[Sentence], seed: int) -> list[Said]:
    """Every sentence. One of its own warms the machine up."""
    utter(speaks, voice, "One.", seed)
    return [utter(speaks, voice, f"{row.text.capitalize()}.", seed) for row in rows]


def utter(speaks: Synthesiser, voice: str, text: str, seed: int) -> Said:
    """A text as a stream says it. Where nothing comes, a moment of silence."""
    begun, first, parts = time.perf_counter(), 0.0, []
    try:
        with speaks.stream(text, voice, seed=seed) as stream:
            for part in stream:
                first = first or time.perf_counter() - begun
                parts.append(part.samples)
    except SpeechError as error:
        log.warning("%s said nothing of %r: %s", voice, text, error)
        parts.append(np.zeros(speaks.sample_rate // 10, np.float32))
    joints = np.cumsum([len(part) for part in parts])[:-1].tolist()
    return Said(np.concatenate(parts), joints, first, time.perf_counter() - begun)


def heard(said: list[np.ndarray], rows: list[Sentence], recogniser: str | None) -> dict[str, float]:
    """Word error rates in percent under pocketsphinx and, if it is named, a recogniser of ours; and mean seconds.

    dnsmos: naturalness, where its library is installed.
    """
    meant = [row.text for row in rows]
    seconds = float(np.mean([len(x) for x in said])) / RATE
    result = {"sentences": float(len(rows)), "seconds": round(seconds, 2)}
    if can_judge("speechmos"):
        result["dnsmos"] = round(naturalness(said), 2)
    result["wer_pocketsphinx"] = round(100 * jiwer.wer(meant, recognise(said)), 1)
    if recogniser:
        model = load_recogniser(recogniser)
        words = [normalise(model.transcribe(x.astype(np.float32), RATE).text) for x in said]
        result["wer_ours"] = round(100 * jiwer.wer(meant, words), 1)
    return result


def likeness(said: list[np.ndarray], voice: str, owners: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Cosine similarity of a voice to the speaker it was learnt from, and to the others, on average.

    said: [n] each, 16 kHz; owners: see `readers`. Nothing where the speaker is not among them.
    """
    if voice not in owners:
        return {}
    mine = voice_vector(speaker_vectors(said))
    others = [float(mine @ vector) for name, vector in owners.items() if name != voice]
    result = {"similarity": round(float(mine @ owners[voice]), 3)}
    return result | ({"similarity_others": round(float(np.mean(others)), 3)} if others else {})


def pace(said: list[Said], sample_rate: int) -> dict[str, float]:
    """Medians of real-time factor and milliseconds to the first sound; and how the joints of parts stand out.

    jump_at_joints: the largest step from one sample to the next at a joint, as a share of the largest elsewhere.
    """
    joints, inside = [0.0], [1e-9]
    for x in said:
        steps = np.abs(np.diff(x.samples))
        at = np.array(x.joints, int) - 1
        joints.append(float(steps[at].max(initial=0.0)))
        inside.append(float(np.delete(steps, at).max(initial=0.0)))
    return {
        "real_time_factor": median([x.seconds / (len(x.samples) / sample_rate) for x in said]),
        "first_sound_ms": median([1e3 * x.first for x in said]),
        "jump_at_joints": round(max(joints) / max(inside), 3),
    }


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
