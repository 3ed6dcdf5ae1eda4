"""How loud the voices are: all alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from speech.tts.model import SynthesiserModel
from speech.tts.reader import Reader
from speech.tts.synthesiser import Synthesiser
from speech.tts.voice import Voice

LOUDNESS = -20.0
"""dB of full scale at which voices speak, as recordings of speech usually do."""

FRAME, QUIET = 0.025, -20.0
"""Seconds of a frame, and dB below the loudest one at which a frame is no speech."""


def levelled(
    model: SynthesiserModel, reader: Reader, voices: dict[str, Voice], said: Sequence[str]
) -> dict[str, Voice]:
    """The voices, each with the gain by which the model speaks the sentences `said` at `LOUDNESS`, taken together."""
    plain = Synthesiser(model, reader, {name: replace(voice, gain=1.0) for name, voice in voices.items()})
    out = {}
    for name, voice in voices.items():
        spoken = np.concatenate([plain.synthesize(sentence, name, seed=1).samples for sentence in said])
        missing = LOUDNESS - speech_level(spoken, plain.sample_rate)
        out[name] = replace(voice, gain=round(10 ** (missing / 20), 3))
    return out


def speech_level(samples: np.ndarray, sample_rate: int) -> float:
    """Root mean square of samples [n] where there is speech, in dB of full scale."""
    size = round(FRAME * sample_rate)
    power = np.square(samples[: len(samples) // size * size]).reshape(-1, size).mean(1)
    return float(10 * np.log10(power[power > power.max() * 10 ** (QUIET / 10)].mean()))
