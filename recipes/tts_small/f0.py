"""Stage `f0`: the fundamental frequency of every frame of all speech."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from lhotse import MonoCut

from recipes.common.cache import RATE, AudioCache
from recipes.common.prepare import cache
from recipes.tts_small.settings import Settings
from recipes.tts_small.tracks import FRAME, f0_path, fresh, save_f0
from recipes.tts_small.yin import yin

log = logging.getLogger(__name__)

PART = 50  # utterances that one process takes at a time


def f0(settings: Settings) -> None:
    """Write f0 beside the decoded audio of every corpus; what is newer than the audio is kept."""
    for name in (*settings.raw.data.train, *settings.raw.data.evaluation):
        audio = cache(settings, name)
        cuts = audio.cuts()
        if fresh(f0_path(audio), audio):
            continue
        parts = [cuts[i : i + PART] for i in range(0, len(cuts), PART)]
        with ProcessPoolExecutor(settings.raw.trainer.workers or 1) as pool:
            rows = [row for part in pool.map(f0_part, [audio] * len(parts), parts) for row in part]
        save_f0(audio, rows)
        voiced = np.concatenate(rows)
        log.info("%s: %.0f %% voiced, median %.0f Hz", name, 100 * (voiced > 0).mean(), np.median(voiced[voiced > 0]))


def f0_part(audio: AudioCache, cuts: list[MonoCut]) -> list[np.ndarray]:
    return [yin(audio.audio(cut), RATE, FRAME) for cut in cuts]
