"""Stage `codes`: the speech codes of all training speech, 25 a second."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from recipes.common.cache import AudioCache
from recipes.common.prepare import cache
from recipes.tts_small.content import trained_encoder
from recipes.tts_small.parts import origin
from recipes.tts_small.settings import Settings
from recipes.tts_small.tracks import frame_count
from speech.content.encoder import FACTOR
from speech.errors import SpeechError
from speech.streaming.frames import Frames

log = logging.getLogger(__name__)


def codes(settings: Settings) -> None:
    """Write the codes of every training corpus; what is newer than encoder and audio is kept.

    Says how many codes are in use: the exponential of the entropy of their frequencies.
    """
    encoder = None
    for name in settings.raw.data.train:
        audio = cache(settings, name)
        cuts = audio.cuts()
        if _fresh(settings, audio):
            continue
        encoder = encoder or trained_encoder(settings)
        pipeline = encoder.pipeline("codes")
        with torch.inference_mode():
            rows = [pipeline(Frames.whole(torch.from_numpy(audio.audio(cut))[None])).data[0].numpy() for cut in cuts]
        everything = np.concatenate(rows).astype(np.uint16)
        _path(settings, audio).parent.mkdir(parents=True, exist_ok=True)
        partial = _path(settings, audio).with_suffix(".partial.npy")
        np.save(partial, everything)
        partial.rename(_path(settings, audio))
        share = np.bincount(everything) / len(everything)
        entropy = -(share * np.log(np.maximum(share, 1e-12))).sum()
        log.info("%s: %d codes, as if %.0f were used evenly", name, len(everything), np.exp(entropy))


def load_codes(settings: Settings, audio: AudioCache) -> dict[str, np.ndarray]:
    """By the id of an utterance its codes, [t] uint16. Raises SpeechError before stage `codes`."""
    if not _fresh(settings, audio):
        path = _path(settings, audio)
        raise SpeechError(f"expected codes at {path} newer than encoder and audio, found none: run stage=codes first")
    values, cuts = np.load(_path(settings, audio), mmap_mode="r"), audio.cuts()
    counts = [-(-frame_count(cut) // FACTOR) for cut in cuts]
    ends = np.cumsum(counts)
    return {cut.id: values[end - count : end] for cut, count, end in zip(cuts, counts, ends, strict=True)}


def _path(settings: Settings, audio: AudioCache) -> Path:
    return settings.part("content") / "codes" / f"{audio.pcm.stem}.npy"


def _fresh(settings: Settings, audio: AudioCache) -> bool:
    path = _path(settings, audio)
    made_from = (audio.index, origin(settings, "content"))
    return path.is_file() and path.stat().st_mtime >= max(file.stat().st_mtime for file in made_from if file)
