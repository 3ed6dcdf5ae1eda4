"""Pairs of unseen speakers, and one live conversion of each."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Container
from typing import NamedTuple

import numpy as np
from lhotse import MonoCut

from recipes.common.cache import RATE, AudioCache
from recipes.common.prepare import cache
from recipes.vc_small.pairs import owner
from recipes.vc_small.settings import ConverterSettings
from speech.errors import SpeechError
from speech.vc.converter import Converter

HOME = 5
"""Utterances of a speaker, at the most, that tell a judge how he sounds."""


class Trial(NamedTuple):
    """A recording that is to be converted, [n] at 16 kHz, what it says, and who speaks; his recordings (`home`).

    The same of the target, of whom the converter hears `references` alone, which are none of its `target_home` where
    the speaker has others.
    """

    source: np.ndarray
    text: str
    speaker: str
    home: list[np.ndarray]
    target: str
    references: list[np.ndarray]
    target_home: list[np.ndarray]


Row = tuple[AudioCache, MonoCut]


def trials(settings: ConverterSettings, count: int, seconds: tuple[float, float], recordings: int = 1) -> list[Trial]:
    """Pairs of speakers of the evaluation corpora, always the same.

    seconds: of a recording, at least and at the most. recordings: that the converter hears of a target who has so many.
    Raises SpeechError where there are no two speakers with such recordings.
    """
    spoken: dict[str, list[Row]] = defaultdict(list)
    for name in settings.raw.data.evaluation:
        audio = cache(settings, name)
        for cut in audio.cuts():
            if seconds[0] <= cut.duration <= seconds[1] and cut.supervisions[0].text:
                spoken[owner(cut)].append((audio, cut))
    if len(spoken) < 2:
        raise SpeechError(
            f"expected two speakers or more with recordings of {seconds[0]:g} to {seconds[1]:g} s in data.evaluation, "
            f"found {len(spoken)}: name other corpora"
        )
    rng, names, found = np.random.default_rng(settings.raw.seed), sorted(spoken), []
    for i in range(count):
        source = names[i % len(names)]
        target = str(rng.choice([name for name in names if name != source]))
        rows, others = spoken[source], spoken[target]
        said, heard = int(rng.integers(len(rows))), int(rng.integers(len(others)))
        known = [(heard + i) % len(others) for i in range(min(recordings, len(others)))]
        text = rows[said][1].supervisions[0].text or ""
        references = [sound(others[i]) for i in known]
        found.append(
            Trial(sound(rows[said]), text, source, home(rows, [said]), target, references, home(others, known))
        )
    return found


def sound(row: Row) -> np.ndarray:
    """The samples of a recording, [n] at 16 kHz."""
    audio, cut = row
    return audio.audio(cut)


def home(rows: list[Row], but: Container[int]) -> list[np.ndarray]:
    """Some recordings of a speaker, without those of these numbers where there are others."""
    rest = [row for i, row in enumerate(rows) if i not in but] or rows
    return [sound(row) for row in rest[:HOME]]


def live(converter: Converter, samples: np.ndarray, chunk: int) -> tuple[np.ndarray, float]:
    """A recording [n] through a live stream, without its delay; and seconds of computing.

    chunk: samples that are pushed at once.
    """
    parts, taken = [], 0.0
    with converter.stream(RATE) as stream:
        for begin in range(0, len(samples), chunk):
            started = time.process_time()  # of one thread: what others do on the machine does not count
            parts.append(stream.push(samples[begin : begin + chunk]))
            taken += time.process_time() - started
        parts.append(stream.flush())
        return np.concatenate(parts)[stream.delay :][: len(samples)], taken
