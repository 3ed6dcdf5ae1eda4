"""Stage `copy_synthesis`: recordings through mel frames and the vocoder, and what that costs."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterable

import jiwer
import numpy as np
import torch
from lhotse import MonoCut

from recipes.common.cache import RATE
from recipes.common.judges import recognise
from recipes.common.prepare import cache, held_out
from recipes.tts_small.settings import Settings
from recipes.tts_small.vocoder import trained_vocoder
from speech.audio.mel import LogMel
from speech.streaming.frames import Frames
from speech.vocoder.hift import HiFT

log = logging.getLogger(__name__)

Scores = dict[str, dict[str, float]]
"""By corpus: utterances, mel (mean distance in nats), wer and wer_recorded in percent, pesq and stoi if installed."""


def copy_synthesis(settings: Settings) -> None:
    """Score held-out reading voices and the evaluation corpora, print a table and write `vocoder/copy.json`."""
    model, mel = trained_vocoder(settings), LogMel(settings.mel)
    scores: Scores = {}
    for name in (*settings.raw.data.reading, *settings.raw.data.evaluation):
        audio = cache(settings, name)
        cuts = [cut for cut in audio.cuts() if name in settings.raw.data.evaluation or held_out(cut)]
        chosen = cuts[:: max(1, len(cuts) // settings.raw.evaluation.sentences)][: settings.raw.evaluation.sentences]
        if chosen:
            scores[name] = score(model, mel, chosen, [audio.audio(cut) for cut in chosen])
            log.info("%s: %s", name, scores[name])
    (settings.part("vocoder") / "copy.json").write_text(json.dumps(scores, indent=1))
    print(table(scores), flush=True)


def score(model: HiFT, mel: LogMel, cuts: list[MonoCut], recordings: list[np.ndarray]) -> dict[str, float]:
    """Mean scores of a set of recordings; word errors over all of its words."""
    copies = [copy(model, mel, x) for x in recordings]
    originals = [x[: len(y)] for x, y in zip(recordings, copies, strict=True)]
    result = {"utterances": float(len(cuts)), "mel": mean(map(mel_distance, [mel] * len(cuts), copies, originals))}
    texts = [cut.supervisions[0].text or "" for cut in cuts]
    if all(texts):
        result["wer"] = round(100 * jiwer.wer(texts, recognise(copies)), 1)
        result["wer_recorded"] = round(100 * jiwer.wer(texts, recognise(originals)), 1)
    if importlib.util.find_spec("pesq"):
        from pesq import NoUtterancesError, pesq

        try:
            result["pesq"] = mean(pesq(RATE, x, y, "wb") for x, y in zip(originals, copies, strict=True))
        except NoUtterancesError:
            log.warning("no speech was found for PESQ")
    if importlib.util.find_spec("pystoi"):
        from pystoi import stoi

        result["stoi"] = mean(stoi(x, y, RATE) for x, y in zip(originals, copies, strict=True))
    return result


@torch.inference_mode()
def copy(model: HiFT, mel: LogMel, samples: np.ndarray) -> np.ndarray:
    """A recording through the vocoder. samples: [n] -> [n // hop * hop]."""
    return model(mel(Frames.whole(torch.from_numpy(samples)[None]))).data[0].numpy()


@torch.inference_mode()
def mel_distance(mel: LogMel, a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two signals' log-mel frames, in nats."""
    x, y = (mel(Frames.whole(torch.from_numpy(np.ascontiguousarray(part))[None])).data for part in (a, b))
    return float((x - y).abs().mean()) / mel.config.slope


def mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 3)


def table(scores: Scores) -> str:
    """Scores as a Markdown table, a row for each corpus."""
    names = list(dict.fromkeys(name for row in scores.values() for name in row))
    lines = ["| corpus | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [
        f"| {corpus} | " + " | ".join(f"{row.get(n, float('nan')):g}" for n in names) + " |"
        for corpus, row in scores.items()
    ]
    return "\n".join(lines)
