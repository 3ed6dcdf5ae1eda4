"""Stage `evaluate`: unseen speakers into one another, judged for voice, words, tune and speed."""

from __future__ import annotations

import json
import logging
from typing import NamedTuple

import numpy as np
import torch

from recipes.common.cache import RATE
from recipes.common.judges import can_judge, speaker_vectors, voice_vector
from recipes.tts_small.copy_synthesis import table
from recipes.tts_small.evaluate import Sentence, heard, one_thread
from recipes.tts_small.tracks import FRAME
from recipes.tts_small.yin import yin
from recipes.vc_small.assemble import assemble
from recipes.vc_small.settings import ConverterSettings
from recipes.vc_small.trials import Trial, live, trials
from speech.audio.file import Audio
from speech.kernels.linear import pack
from speech.vc.converter import Converter
from speech.vc.model import ConverterModel

log = logging.getLogger(__name__)

Scores = dict[str, dict[str, float]]

COMPARED = 10
"""Recordings that are converted whole, too, and in chunks of other lengths."""


class Converted(NamedTuple):
    """Recordings in the voices of their targets, [n] each, and seconds of computing for a second of speech."""

    signals: list[np.ndarray]
    factor: float


def evaluate(settings: ConverterSettings) -> None:
    """Score pairs of unseen speakers, print a table and write it as `evaluation.scores` into the work folder.

    They are converted live, in chunks, by one thread. Judges whose library is not installed are left out, and named.
    """
    options, model = settings.raw.evaluation, assemble(settings)[0]
    pack(model)
    rows = trials(settings, options.pairs, tuple(options.reference), options.recordings)
    first, *others = map(float, options.chunks)
    with one_thread():
        each = {first: convert_all(model, first, rows)}
        each |= {chunk: convert_all(model, chunk, rows[:COMPARED]) for chunk in others}
    signals, texts = each[first].signals, [Sentence(row.text, row.source) for row in rows]
    scores: Scores = {"converted": heard(signals, texts, options.recogniser), "source": sources(settings, texts)}
    scores["converted"] |= likeness(signals, rows)
    scores["converted"] |= {"f0_correlation": tunes(signals, rows), "f0_off": pitches(signals, rows)}
    scores["converted"] |= {f"real_time_factor_{chunk:g}_ms": round(x.factor, 3) for chunk, x in each.items()}
    scores["converted"] |= {"whole_less_chunks": apart(model, first, rows[:COMPARED], signals)}
    for library, what in (("speechmos", "naturalness"), ("resemblyzer", "similarity")):
        if not can_judge(library):
            log.warning("%s is not judged: %s is not installed", what, library)
    (settings.work / options.scores).write_text(json.dumps(scores, indent=1))
    print(table(scores), flush=True)


def sources(settings: ConverterSettings, texts: list[Sentence]) -> dict[str, float]:
    """What the judges of words say of the recordings as they are; kept in the work folder for the next evaluation."""
    path, options = settings.work / "scores_of_sources.json", settings.raw.evaluation
    of = [options.recogniser, can_judge("speechmos"), *(f"{text.text} ({len(text.recording)})" for text in texts)]
    if path.is_file() and (kept := json.loads(path.read_text()))["of"] == of:
        return kept["scores"]
    scores = heard([text.recording for text in texts], texts, options.recogniser)
    path.write_text(json.dumps({"scores": scores, "of": of}, indent=1))
    return scores


def convert_all(model: ConverterModel, chunk: float, rows: list[Trial]) -> Converted:
    """Every recording, live, in chunks of so many milliseconds."""
    signals, taken, spoken, size = [], 0.0, 0.0, round(chunk * RATE / 1000)
    for i, row in enumerate(rows):
        converter = to_voice(model, chunk, row)
        if not i:
            live(converter, row.source[:RATE], size)  # warms the machine up
        made, seconds = live(converter, row.source, size)
        signals.append(made)
        taken, spoken = taken + seconds, spoken + len(row.source) / RATE
    return Converted(signals, taken / spoken)


def to_voice(model: ConverterModel, chunk: float, row: Trial) -> Converter:
    """A converter whose only target is that of a pair."""
    converter = Converter(model, chunk=chunk)
    converter.add_target(row.target, *(Audio(x, RATE) for x in row.references))
    return converter


def likeness(signals: list[np.ndarray], rows: list[Trial]) -> dict[str, float]:
    """Mean cosines with the voices of target and source, and percent of pairs that are nearer the target.

    Nothing where the judge is not installed.
    """
    if not can_judge("resemblyzer"):
        return {}
    names = {name: home for row in rows for name, home in ((row.target, row.target_home), (row.speaker, row.home))}
    voices = {name: voice_vector(speaker_vectors(home)) for name, home in names.items()}
    made = speaker_vectors(signals)
    target = np.array([x @ voices[row.target] for x, row in zip(made, rows, strict=True)])
    source = np.array([x @ voices[row.speaker] for x, row in zip(made, rows, strict=True)])
    return {
        "similarity_target": round(float(target.mean()), 3),
        "similarity_source": round(float(source.mean()), 3),
        "nearer_target": round(100 * float((target > source).mean()), 1),
    }


def tunes(signals: list[np.ndarray], rows: list[Trial]) -> float:
    """Mean correlation of log f0 before and after, over frames that have a voice in both; of pairs with ten such."""
    found = []
    for made, row in zip(signals, rows, strict=True):
        a, b = (yin(x, RATE, FRAME) for x in (made, row.source))
        n = min(len(a), len(b))
        both = (a[:n] > 0) & (b[:n] > 0)
        x, y = np.log(a[:n][both]), np.log(b[:n][both])
        if both.sum() >= 10 and x.std() > 0 and y.std() > 0:
            found.append(float(np.corrcoef(x, y)[0, 1]))
    return round(float(np.mean(found)), 3) if found else float("nan")


def pitches(signals: list[np.ndarray], rows: list[Trial]) -> float:
    """Mean distance in semitones of the median f0 from that of the target's other recordings."""
    homes = {row.target: height(row.target_home) for row in rows}
    return round(float(np.nanmean([abs(height([x]) - homes[r.target]) for x, r in zip(signals, rows, strict=True)])), 2)


def height(signals: list[np.ndarray]) -> float:
    """The median f0 of recordings, in semitones over 1 Hz; nan without a voice."""
    f0 = np.concatenate([yin(x, RATE, FRAME) for x in signals])
    return 12 * float(np.log2(np.median(f0[f0 > 0]))) if (f0 > 0).any() else float("nan")


@torch.inference_mode()
def apart(model: ConverterModel, chunk: float, rows: list[Trial], signals: list[np.ndarray]) -> float:
    """The largest difference of a sample between recordings converted whole and in chunks."""
    whole = [to_voice(model, chunk, row).convert(row.source, row.target, RATE).samples for row in rows]
    return max(float(np.abs(x - y).max()) for x, y in zip(whole, signals, strict=False))
