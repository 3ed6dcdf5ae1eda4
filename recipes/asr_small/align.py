"""Stage `align`: when every word was spoken, by forced alignment with pocketsphinx (Huggins-Daines et al. 2006)."""

from __future__ import annotations

import json
import logging
import re
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from lhotse import MonoCut

from recipes.asr_small.prepare import training_corpora
from recipes.asr_small.settings import Settings
from recipes.common.cache import RATE, AudioCache, Words
from recipes.common.prepare import cache

log = logging.getLogger(__name__)

PART = 100  # utterances that one process takes at a time: a decoder is made for each part
FRAME = 0.01  # seconds


def align(settings: Settings) -> None:
    """Write word times beside the decoded audio of every training corpus; what is newer than the audio is kept.

    Utterances with a word that pocketsphinx's dictionary lacks, or that cannot be aligned, are left out.
    """
    for name in training_corpora(settings):
        audio = cache(settings, name)
        cuts = audio.cuts()
        if audio.words.is_file() and audio.words.stat().st_mtime >= audio.index.stat().st_mtime:
            continue
        parts = [cuts[i : i + PART] for i in range(0, len(cuts), PART)]
        found: Words = {}
        with ProcessPoolExecutor(settings.raw.trainer.workers or 1) as pool:
            for part in pool.map(align_part, [audio] * len(parts), parts):
                found |= part
        partial = audio.words.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.rename(audio.words)
        log.info("%s: %d of %d utterances aligned", name, len(found), len(cuts))


def align_part(audio: AudioCache, cuts: list[MonoCut]) -> Words:
    """Word times of those utterances that can be aligned. One decoder serves them all; it holds Python's lock."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=RATE, lm=None, loglevel="FATAL")
    found: Words = {}
    for cut in cuts:
        text = cut.supervisions[0].text
        if not text:
            continue
        try:
            decoder.set_align_text(text)
            decoder.start_utt()
            decoder.process_raw((audio.audio(cut) * 32768).astype(np.int16).tobytes(), full_utt=True)
            decoder.end_utt()
            segments = list(decoder.seg() or ())
        except RuntimeError:  # a word that is not in the dictionary, or text that does not fit the sound
            continue
        # beside words there are <sil> and [NOISE]; a second pronunciation is marked as in "the(2)"
        spoken = [s for s in segments if not s.word.startswith(("<", "["))]
        if [re.sub(r"\(\d+\)$", "", s.word) for s in spoken] == text.split():
            found[cut.id] = [(round(s.start_frame * FRAME, 2), round((s.end_frame + 1) * FRAME, 2)) for s in spoken]
    return found
