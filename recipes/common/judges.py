"""Judges of speech that share nothing with what is trained here.

Words are heard by pocketsphinx. The others come with the extra `judge` and may be absent: speakers are told apart by
Resemblyzer (generalised end-to-end loss: Wan et al. 2018, arXiv 1710.10467), and naturalness is DNSMOS P.835 (Reddy et
al. 2022, arXiv 2110.01763), a mean opinion score from 1 to 5 that needs no recording beside it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np

from recipes.common.cache import RATE


def can_judge(library: str) -> bool:
    """Whether a judge's library is installed: "resemblyzer" or "speechmos"."""
    return importlib.util.find_spec(library) is not None


def recognise(signals: Iterable[np.ndarray]) -> list[str]:
    """What pocketsphinx, with its own language model, hears: a judge that shares nothing with what is trained here."""
    from pocketsphinx import Decoder

    decoder, texts = Decoder(samprate=RATE, loglevel="FATAL"), []
    for samples in signals:
        decoder.start_utt()
        decoder.process_raw((samples.clip(-1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        heard = decoder.hyp()
        texts.append(heard.hypstr if heard else "")
    return texts


def speaker_vectors(signals: Iterable[np.ndarray]) -> np.ndarray:
    """Who speaks. signals: [n] each, 16 kHz, of half a second or more -> [signals, 256] of length 1."""
    embed = _resemblyzer()
    return np.stack([embed(np.asarray(samples, np.float32)) for samples in signals])


def voice_vector(vectors: np.ndarray) -> np.ndarray:
    """The vector of a speaker from those of some recordings: their mean, of length 1. [n, d] -> [d]."""
    mean = vectors.mean(0)
    return mean / np.linalg.norm(mean)


def naturalness(signals: Sequence[np.ndarray]) -> float:
    """DNSMOS overall score of speech, the mean over signals [n], 16 kHz; those without sound are left out."""
    from speechmos import dnsmos

    heard = [x for x in signals if np.abs(x).max(initial=0) > 0]
    scores = [dnsmos.run(np.clip(x, -1, 1).astype(np.float32), sr=RATE)["ovrl_mos"] for x in heard]
    return float(np.mean(scores)) if scores else float("nan")


@cache
def _resemblyzer() -> Callable[[np.ndarray], np.ndarray]:
    from resemblyzer import VoiceEncoder

    return VoiceEncoder("cpu", verbose=False).embed_utterance
