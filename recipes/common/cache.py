"""Decoded audio in one memory-mapped file: 16 kHz mono int16, written once, read at random ever after."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile
import soxr
from lhotse import CutSet, MonoCut

from speech.errors import SpeechError

RATE = 16000
log = logging.getLogger(__name__)

Words = dict[str, list[tuple[float, float]]]
"""By the id of an utterance, (begin, end) in seconds of every word of its text."""


class AudioCache:
    """`<name>.pcm` and its index, the lhotse manifest `<name>.jsonl.gz` whose cuts know where they lie in it.

    Beside them, once stage `align` has run, `<name>.words.json`: when every word was spoken.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.pcm, self.index = folder / f"{name}.pcm", folder / f"{name}.jsonl.gz"
        self.words = folder / f"{name}.words.json"

    @property
    def ready(self) -> bool:
        return self.index.is_file()

    def build(self, read: Callable[[], CutSet], source: Path, workers: int) -> None:
        """Decode all cuts of `read()`, in order; a file that fails is left out and named.

        Nothing is done when it was done before and `source`, the corpus' manifest or folder, has not changed since.
        Raises SpeechError where all of them fail.
        """
        if self.ready and source.stat().st_mtime <= self.index.stat().st_mtime:
            return
        self.pcm.parent.mkdir(parents=True, exist_ok=True)
        self.index.unlink(missing_ok=True)
        self.pcm.unlink(missing_ok=True)  # whoever trains on it keeps what he has mapped
        offset, cuts = 0, []
        with self.pcm.open("wb") as file, ThreadPoolExecutor(workers) as pool:
            for cut, samples in pool.map(_decode, read()):
                if samples is None:
                    continue
                file.write(samples.tobytes())
                cut.custom = {"offset": offset, "samples": len(samples)}
                cut.duration = min(cut.duration, len(samples) / RATE)
                offset += len(samples)
                cuts.append(cut)
        if not cuts:
            raise SpeechError(f"expected recordings that can be read in {source}, got none: see the warnings above")
        partial = self.index.with_name(f"partial-{self.index.name}")
        CutSet.from_cuts(cuts).to_file(partial)
        partial.rename(self.index)  # the index comes last: with it the cache is complete
        log.info("%s: %d utterances, %.2f hours", self.pcm.stem, len(cuts), offset / RATE / 3600)

    def cuts(self) -> list[MonoCut]:
        """All cuts, in order. Raises SpeechError if the cache has not been built."""
        if not self.ready:
            raise SpeechError(f"expected prepared audio at {self.index}, found none: run stage=prepare first")
        return list(CutSet.from_file(self.index))  # type: ignore[arg-type]

    def word_times(self) -> Words:
        """Word times of those utterances that could be aligned; none where stage `align` has not run."""
        return json.loads(self.words.read_text()) if self.words.is_file() else {}

    @cached_property
    def _samples(self) -> np.ndarray:
        return np.memmap(self.pcm, np.int16, mode="r")

    def audio(self, cut: MonoCut) -> np.ndarray:
        """[n] float32 in [-1, 1]: the samples of a cut."""
        offset, count = cut.custom["offset"], cut.custom["samples"]  # type: ignore[index]
        return self._samples[offset : offset + count].astype(np.float32) / 32768


def _decode(cut: MonoCut) -> tuple[MonoCut, np.ndarray | None]:
    path = str(cut.recording.sources[0].source)  # type: ignore[union-attr]
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        log.warning("left out %s: %s", path, error)
        return cut, None
    mono = samples.mean(1)
    if rate != RATE:
        mono = soxr.resample(mono, rate, RATE)
    return cut, (mono.clip(-1, 32767 / 32768) * 32768).round().astype(np.int16)
