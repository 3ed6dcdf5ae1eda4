"""`word-times`: when a voice that knows its own words says them, and when forced alignment finds that it does.

* Whole: a recording of ten sentences and its text, by `Recogniser.align`.
* Live: sound as it is made, each sentence's text ahead of it, as for voices that do not know their words. A sentence's
  words are told some time after its end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np
import torch

from benchmarks.measure import Result
from speech.asr.alignment import Alignment
from speech.asr.events import Segment, Word
from speech.asr.recogniser import Recogniser
from speech.errors import SpeechError
from speech.hub.load import load_recogniser, load_synthesiser
from speech.streaming.lane import alone
from speech.tts.session import Speech
from speech.tts.words import SpokenWord

SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
)
"""The first list of Harvard sentences (IEEE 1969)."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", default="tts", help="name or folder of a synthesiser that knows its words")
    parser.add_argument("--aligner", default="asr", help="name, folder or file of a recogniser with a CTC head")


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Measure every voice, then give the figures of all words."""
    torch.set_num_threads(1)
    voices, aligner = load_synthesiser(options.model, "cpu"), load_recogniser(options.aligner, "cpu")
    if not isinstance(aligner, Recogniser):
        raise SpeechError(f"expected a recogniser with a CTC head, got {options.aligner}: choose another --aligner")
    sentences = SENTENCES[: 2 if options.smoke else None]
    whole, live, waits = [], [], []
    for voice in voices.voices[: 1 if options.smoke else None]:
        known = voices.synthesize(" ".join(sentences), voice, seed=1)
        if len(known.words) != len(" ".join(sentences).split()):
            raise SpeechError(f"expected a voice that knows its words, got {voice} of {options.model}: choose another")
        whole += apart(aligner.align(known.samples, "\n".join(sentences), known.sample_rate).words, known.words)
        told = list(listened(aligner, known, sentences))
        live += apart([word for segment, _ in told for word in segment.words], known.words)
        waits += [time - segment.end for segment, time in told[:-1]]
    for case, off in (("whole", whole), ("live", live)):
        yield Result(case, "apart median", 1e3 * median(off), "ms", len(off), 1)
        yield Result(case, "apart 90 %", 1e3 * float(np.quantile(off, 0.9)), "ms", len(off), 1)
    if waits:
        yield Result("live", "told after a sentence's end, median", median(waits), "s", len(waits), 1)


def apart(found: Sequence[Word], known: Sequence[SpokenWord]) -> list[float]:
    """Seconds between the begins, and the ends, of words that were found and known."""
    return [abs(t) for a, b in zip(found, known, strict=True) for t in (a.start - b.start, a.end - b.end)]


def listened(aligner: Recogniser, sound: Speech, sentences: Sequence[str]) -> Iterator[tuple[Segment, float]]:
    """The sentences as they are told of sound that comes in blocks of 0.1 s, and the seconds of it that had come."""
    alignment, waiting, size = Alignment(aligner.aligner, sound.sample_rate), list(sentences), sound.sample_rate // 10
    alignment.expect(waiting.pop(0).split())
    for start in range(0, len(sound.samples), size):
        if waiting and len({word.utterance for word in alignment.expected}) < 2:
            alignment.expect(waiting.pop(0).split())
        alone(alignment.hearing(sound.samples[start : start + size]))
        yield from ((segment, alignment.duration) for segment in alignment.settled())
    for sentence in waiting:
        alignment.expect(sentence.split())
    yield from ((segment, alignment.duration) for segment in alone(alignment.ending()))
