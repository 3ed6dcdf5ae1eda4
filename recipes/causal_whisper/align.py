"""Stage `align`: when every word was spoken, by forced alignment under the CTC head of a recogniser of ours."""

from __future__ import annotations

import json
import logging

import numpy as np

import speech
from recipes.causal_whisper.settings import WhisperSettings
from recipes.common.cache import RATE, Words
from recipes.common.prepare import cache
from speech.asr.recogniser import Recogniser
from speech.errors import SpeechError

log = logging.getLogger(__name__)


def align(settings: WhisperSettings) -> None:
    """Write word times beside the decoded audio of every corpus; what is newer than the audio is kept.

    Utterances that cannot be aligned are left out. Raises SpeechError for a recogniser without a CTC head.
    """
    recogniser = None
    for name in (*settings.raw.data.train, *settings.raw.data.evaluation):
        audio = cache(settings, name)
        cuts = audio.cuts()
        if audio.words.is_file() and audio.words.stat().st_mtime >= audio.index.stat().st_mtime:
            continue
        recogniser = recogniser or load_aligner(settings.align.recogniser)
        rows = {cut.id: word_times(recogniser, audio.audio(cut), cut.supervisions[0].text or "") for cut in cuts}
        found: Words = {name: words for name, words in rows.items() if words}
        partial = audio.words.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.rename(audio.words)
        log.info("%s: %d of %d utterances aligned", name, len(found), len(cuts))


def load_aligner(name: str) -> Recogniser:
    """The recogniser of that name, as `speech.load` takes it. Raises SpeechError for one that cannot align."""
    recogniser = speech.load(name)
    if not isinstance(recogniser, Recogniser) or recogniser.model.ctc is None:
        raise SpeechError(f"expected align.recogniser to name a model with a CTC head, got {name}")
    return recogniser


def word_times(recogniser: Recogniser, samples: np.ndarray, text: str) -> list[tuple[float, float]]:
    """Begin and end of every word in seconds; none where the text does not fit. samples: [n] float32, 16 kHz."""
    try:
        words = recogniser.align(samples, text, RATE).words
    except SpeechError:  # nothing is said, or too much
        return []
    return [(word.start, word.end) for word in words]
