"""Hours of silence through live Whispers, pushed as fast as they go: they say nothing, and nothing grows.

A public size with random weights, causal and plain, each in one live stream. Half of every minute is digital silence,
half steady noise at -80 dB. At points of the stream: memory of the process, and bytes of the stream's snapshot, which
is all that a stream keeps. At the end: events, of which there should be none, and processor time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import BPE

from benchmarks.measure import Result
from benchmarks.transcribe import resident
from speech.asr.whisper.config import WhisperConfig
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer

POINTS = 5
"""How often numbers are told: after a minute, and then at even distances up to the end."""


def silence(case: str, config: WhisperConfig, hours: float, threads: int) -> Iterator[Result]:
    """One stream of so many hours through a model with random weights. case: how its numbers are named."""
    recogniser = WhisperRecogniser(Whisper(config), spelling_numbers(config.vocabulary))
    rate, begun, events = recogniser.sample_rate, time.process_time(), 0
    minute = quiet(rate)
    minutes = max(round(60 * hours), 1)
    marks = {1, *(round(minutes * i / (POINTS - 1)) for i in range(1, POINTS))}
    with recogniser.stream(rate) as stream:
        for now in range(1, minutes + 1):
            events += len(stream.push(minute))
            if now in marks:
                point = f"{case}, after {now / 60:.2f} h"
                yield Result(point, "memory", resident() / 2**20, "MiB", 1, threads)
                yield Result(point, "snapshot", len(stream.snapshot()), "bytes", 1, threads)
        events += len(stream.flush())
    yield Result(case, "events", events, "", 1, threads)
    yield Result(case, "cpu", 60 / minutes * (time.process_time() - begun), "s an hour", 1, threads)


def quiet(rate: int) -> np.ndarray:
    """A minute in which there is nothing to decode. [n] float32."""
    x = np.zeros(60 * rate, np.float32)
    noise = np.random.default_rng(0).standard_normal(30 * rate)
    x[len(x) // 2 :] = 1e-4 * noise
    return x


def spelling_numbers(vocabulary: int) -> WhisperTokenizer:
    """A tokenizer for random weights: every id spells its own number."""
    symbols = Symbols(vocabulary)
    return WhisperTokenizer(Tokenizer(BPE({str(i): i for i in range(symbols.end)}, [])), symbols)
