"""The bundled recogniser with weights, and with keys and values, of eight bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import speech
from speech.asr.events import Final
from speech.asr.recogniser import Recogniser
from speech.audio.file import read
from speech.kernels.linear import Linear
from speech.kernels.quantised_linear import QuantisedLinear, quantise
from tests.asr.small import small_model

RATE = 16000
DEMO = Path(__file__).resolve().parents[2] / "demo" / "demo.flac"
OPTIONS: dict[str, dict[str, Any]] = {
    "weights": {"weights": "int8"},
    "int8 cache": {"cache": "int8"},
    "fp8 cache": {"cache": "fp8"},
}


@pytest.fixture(scope="module")
def heard() -> tuple[np.ndarray, str]:
    """Six seconds of speech and what the recogniser makes of them in full precision."""
    samples = read(DEMO, RATE).samples[: 6 * RATE]
    return samples, speech.load("asr", "cpu").transcribe(samples, RATE).text


@pytest.mark.parametrize("name", OPTIONS)
def test_the_demo_is_heard_alike_whole_and_live(name: str, heard: tuple[np.ndarray, str]) -> None:
    samples, text = heard
    recogniser = speech.load("asr", "cpu", **OPTIONS[name])
    assert recogniser.transcribe(samples, RATE).text == text
    assert said(recogniser, samples) == text


def test_one_set_of_bytes_serves_all_look_aheads() -> None:
    encoder = small_model().encoder
    quantise(encoder, torch.int8)
    other = encoder.at((6, 0), torch.int8)
    ours, theirs = ([x for x in e.modules() if isinstance(x, QuantisedLinear)] for e in (encoder, other))
    assert ours and all(x is y for x, y in zip(ours, theirs, strict=True))
    assert not any(isinstance(layer, Linear) for layer in other.modules())


def said(recogniser: Recogniser, samples: np.ndarray) -> str:
    """The text of a live stream in blocks of 100 ms."""
    stream = recogniser.stream(RATE)
    events = [event for part in np.array_split(samples, 60) for event in stream.push(part)]
    return " ".join(event.text for event in [*events, *stream.flush()] if isinstance(event, Final))


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(speech.SpeechError, match="expected a CUDA card for weights in fp8, the model is on cpu"):
        speech.load("asr", "cpu", weights="fp8")
    with pytest.raises(speech.SpeechError, match="expected int8 or fp8 for numbers of eight bits, got 'int4'"):
        speech.load("asr", "cpu", cache="int4")  # type: ignore[call-overload]
    with pytest.raises(speech.SpeechError, match=r"for the synthesiser tts, got weights: leave that out"):
        speech.load("tts", "cpu", weights="int8")  # type: ignore[call-overload]
