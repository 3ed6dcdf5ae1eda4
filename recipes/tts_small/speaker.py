"""Stage `speaker`: trains the speaker encoder, and finds one vector for every speaker."""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import partial

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recipes.common.cache import RATE, AudioCache
from recipes.common.prepare import cache, held_out
from recipes.tts_small.parts import train, trained
from recipes.tts_small.pools import pools, stretch_data
from recipes.tts_small.pools import speaker as name_of
from recipes.tts_small.settings import Settings
from recipes.tts_small.speaker_training import SpeakerStretches, SpeakerTraining
from speech.content.campplus import CAMPPlus
from speech.content.reference import VOICE_SECONDS
from speech.errors import SpeechError

log = logging.getLogger(__name__)

UTTERANCES = 30
"""Of a speaker that are averaged, at the most."""


def speaker(settings: Settings) -> None:
    """Train until `speaker.optim.steps`, or for `trainer.minutes`; then write the vectors of all speakers."""
    config = settings.speaker_crops
    found = pools(settings, config.reading)
    names = sorted({name_of(cut) for pool in found for cut in pool.cuts if not held_out(cut)})
    module = SpeakerTraining(CAMPPlus(settings.speaker), settings.speaker_optim, len(names))
    kind = partial(SpeakerStretches, numbers={name: i for i, name in enumerate(names)})
    train(settings, "speaker", module, stretch_data(settings, module, kind, found, config), settings.speaker_optim)
    write_vectors(settings)


def write_vectors(settings: Settings) -> None:
    """Write the vectors of all speakers of the training corpora, by the trained encoder."""
    vectors = average(trained_speaker(settings), [cache(settings, name) for name in settings.raw.data.train])
    settings.part("speaker").mkdir(parents=True, exist_ok=True)
    save_file(vectors, settings.part("speaker") / "vectors.safetensors")
    log.info("speaker: vectors of %d speakers", len(vectors))


def trained_speaker(settings: Settings) -> CAMPPlus:
    """The averaged encoder of the newest checkpoint, in evaluation mode. Raises SpeechError without one."""
    return trained(settings, "speaker", CAMPPlus(settings.speaker))[0]


def average(model: CAMPPlus, caches: list[AudioCache]) -> dict[str, Tensor]:
    """By speaker, the mean of the normalised vectors of some utterances, the longest first, [dim]."""
    cuts = defaultdict(list)
    for audio in caches:
        for cut in audio.cuts():
            if cut.custom["samples"] >= VOICE_SECONDS * RATE:  # type: ignore[index]
                cuts[name_of(cut)].append((cut.duration, cut.id, cut, audio))
    vectors = {}
    for name, rows in cuts.items():
        chosen = sorted(rows, key=lambda row: row[:2], reverse=True)[:UTTERANCES]
        each = torch.stack([model.embed(audio.audio(cut)) for _, _, cut, audio in chosen])
        vectors[name] = torch.nn.functional.normalize(each, dim=-1).mean(0)
    return vectors


def load_vectors(settings: Settings) -> dict[str, Tensor]:
    """By speaker its vector, [dim]. Raises SpeechError before stage `speaker`."""
    path = settings.part("speaker") / "vectors.safetensors"
    if not path.is_file():
        raise SpeechError(f"expected speaker vectors at {path}, found none: run stage=speaker first")
    return load_file(path)
