"""Stage `lm`: trains the language model, which gives the codes of phonemes, and sees how long it speaks."""

from __future__ import annotations

import json
import logging

import numpy as np
import torch
from lhotse import MonoCut

from recipes.common.corpora import written
from recipes.common.prepare import cache, configured, held_out
from recipes.tts_small.codes import load_codes
from recipes.tts_small.lm_training import OTHERS, LMTraining, Texts
from recipes.tts_small.parts import train, trained
from recipes.tts_small.pools import Numbered, speaker
from recipes.tts_small.settings import Settings
from recipes.tts_small.symbols import marks, spoken
from recipes.tts_small.tracks import load_phones
from speech.tts.aligned import Aligned
from speech.tts.generation import Generation
from speech.tts.layout import Utterance
from speech.tts.lm import TextSpeechLM
from speech.tts.sampling import Sampler, SamplingConfig, uniform

log = logging.getLogger(__name__)

SAID = 12
"""Held-out utterances that are said anew for the report."""


def lm(settings: Settings) -> None:
    """Train until `lm.optim.steps`, or for `trainer.minutes`; goes on from the newest checkpoint. Then report."""
    module = LMTraining(fresh_lm(settings), settings.lm_optim, settings.raw.lm.draft_weight)
    layout, config, seed = Aligned(module.model.config.vocabulary), settings.lm_batch, settings.raw.seed
    found = utterances(settings)
    sets = [[(u, weight) for cut, u, weight in found if held_out(cut) == held] for held in (False, True)]
    log.info("lm: %d utterances, %d of them held out", len(found), len(sets[1]))
    learn = Texts(*columns(sets[0]), layout, config, seed)
    judge = Texts(*columns(sets[1]), layout, config, seed) if sets[1] else None
    train(settings, "lm", module, Numbered(settings, module, learn, judge, config.held_out), settings.lm_optim)
    if judge is not None:
        rows = columns(sets[1])[0]
        report = durations(trained_lm(settings), rows[:: max(1, len(rows) // SAID)][:SAID], settings.sampling)
        (settings.part("lm") / "durations.json").write_text(json.dumps(report, indent=1))
        log.info("lm: held-out utterances said anew: %s", report)


def columns(rows: list[tuple[Utterance, float]]) -> tuple[list[Utterance], list[float]]:
    """Utterances and their weights."""
    return [utterance for utterance, _ in rows], [weight for _, weight in rows]


def reading_voices(settings: Settings) -> list[str]:
    """The speakers of the reading corpora, in the order in which these are configured."""
    cuts = (cut for name in settings.raw.data.reading for cut in cache(settings, name).cuts())
    return list(dict.fromkeys(speaker(cut) for cut in cuts))


def voice_rows(settings: Settings) -> dict[str, int]:
    """The rows of the reading voices in the table of voices; every other speaker has row `OTHERS`."""
    return {name: settings.first_voice + i for i, name in enumerate(reading_voices(settings))}


def fresh_lm(settings: Settings) -> TextSpeechLM:
    """The configured model with random weights."""
    return TextSpeechLM(settings.language_model(settings.first_voice + len(reading_voices(settings))))


def trained_lm(settings: Settings) -> TextSpeechLM:
    """The averaged model of the newest checkpoint, in evaluation mode. Raises SpeechError without one."""
    return trained(settings, "lm", fresh_lm(settings))[0]


def utterances(settings: Settings) -> list[tuple[MonoCut, Utterance, float]]:
    """All aligned utterances: whence, symbols and codes, and how likely a second of it is to be drawn."""
    data, voices = settings.raw.data, voice_rows(settings)
    result = []
    for name, folder, layout in configured(settings)[: len(data.train)]:
        audio = cache(settings, name)
        phones, codes, texts = load_phones(audio), load_codes(settings, audio), written(folder, layout)
        weight = settings.lm_batch.reading if name in data.reading else 1.0
        for cut in audio.cuts():
            if cut.id in phones:
                voice = voices.get(speaker(cut), OTHERS)
                result.append((cut, spoken(phones[cut.id], codes[cut.id], marks(cut, texts), voice), weight))
    return result


def durations(model: TextSpeechLM, rows: list[Utterance], sampling: SamplingConfig) -> dict[str, float]:
    """Utterances said anew: codes of each over those of the recording (mean, least, most), symbols of no code.

    And how many ids one pass of the decoder gave: with `sampling.drafts` more than one.
    """
    ratios, counts, yields = [], [], []
    for number, row in enumerate(rows):
        script = Aligned(model.config.vocabulary).script(Utterance(voice=row.voice))
        script.push(row.text)
        script.end()
        draws = uniform(torch.Generator().manual_seed(number))
        generation = Generation(model, script, Sampler(sampling, draws))
        said = len(list(generation.codes()))
        ratios.append(said / max(1, len(row.codes)))
        counts.append(np.diff([*script.starts, said]))
        yields.append(len(script.ids) / generation.passes)
    silent = float((np.concatenate(counts) == 0).mean())
    values = {"mean": np.mean(ratios), "least": np.min(ratios), "most": np.max(ratios), "no_code": silent}
    values["ids_a_pass"] = np.mean(yields)
    return {name: round(float(value), 3) for name, value in values.items()}
