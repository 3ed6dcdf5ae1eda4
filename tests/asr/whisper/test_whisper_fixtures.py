"""Golden numbers of Whisper and of a causal Whisper, made by the originals with small random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.asr.whisper.config import Context
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.tokenizer import Symbols
from speech.hub.whisper.weights import load_whisper
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames, Place
from tests.asr.whisper.test_whisper_encoder import streamed

ENCODER, LOGITS = {"atol": 2e-4, "rtol": 0.0}, {"atol": 1e-3, "rtol": 0.0}
EVERY = 41
"""Of the vocabulary, so many ids apart lie the logits that are kept."""

Golden = tuple[Whisper, dict[str, Tensor]]


def golden(folder: Path) -> Golden:
    with np.load(folder / "io.npz") as arrays:
        return load_whisper(folder / "model.pt"), {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="module")
def plain(shared: Path) -> Golden:
    return golden(shared / "fixtures" / "whisper_tiny")


@pytest.fixture(scope="module")
def causal(shared: Path) -> Golden:
    return golden(shared / "fixtures" / "careless_whisper_tiny")


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def check_logits(logits: Tensor, data: dict[str, Tensor], prefix: str) -> None:
    """logits: [u, vocabulary]."""
    torch.testing.assert_close(logits[:, ::EVERY], data[f"{prefix}_logits_sub"], **LOGITS)
    torch.testing.assert_close(logits.logsumexp(1), data[f"{prefix}_logsumexp"], **LOGITS)
    best = logits.gather(1, data[f"{prefix}_top10_ids"])
    torch.testing.assert_close(best, data[f"{prefix}_top10_logits"], **LOGITS)
    torch.testing.assert_close(logits.topk(10).values, data[f"{prefix}_top10_logits"], **LOGITS)


def test_whole_windows(plain: Golden) -> None:
    """From samples to logits; then arg-max ids, one step each."""
    model, data = plain
    samples = torch.zeros(1, 480000)
    samples[0, : len(data["audio_int16"])] = data["audio_int16"].float() / 32768
    heard = model.pipeline()(Frames.whole(samples))
    torch.testing.assert_close(heard.data[0, :500], data["enc_full"], **ENCODER)
    check_logits(model.decoder(data["tf_tokens"][None], heard)[0], data, "tf")
    symbols, one = Symbols(model.config.vocabulary), torch.tensor([0])
    memory, state = model.decoder.init_memory(1), model.decoder.init_state(1)
    model.decoder.extend(heard, memory, one)
    ids, at = symbols.prompt("en"), 0
    expected = data["argmax_ids"].tolist()
    assert ids == expected[:4]
    got = list(ids)
    while len(got) < len(expected):
        logits = model.decoder.step(torch.tensor([ids]), torch.tensor([at]), state, one, memory)
        at, ids = at + len(ids), [int(logits[0, -1].argmax())]
        got += ids
    assert got == expected


def test_the_front_end(plain: Golden) -> None:
    model, data = plain
    frames = Frames.whole(data["logmel"].T[None])
    for name in ("conv1", "gelu1", "conv2", "gelu2"):
        frames = model.encoder.get_submodule(name)(frames)
    torch.testing.assert_close(frames.data[0, :400], data["conv_out"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("chunk", "extra"), [(15, 1), (5, 5)])
def test_block_causal(plain: Golden, chunk: int, extra: int) -> None:
    """The first 500 frames, whole and in steps of one chunk and more."""
    model, data = plain
    encoder = model.encoder.at(Context.causal(chunk, chunk * (extra + 1)))
    expected = data[f"enc_block_g{chunk}_e{extra}"]
    mel = data["logmel"].T[: 2 * (500 + chunk)]
    torch.testing.assert_close(encoder(Frames.whole(mel[None])).data[0, :500], expected, **ENCODER)
    steps = [1, 3, 1, *[2] * (500 // chunk // 2)]
    torch.testing.assert_close(streamed(encoder, mel, steps)[:500], expected, **ENCODER)
    if chunk == 15:
        heard = Frames.whole(expected[None, : int(data["tf_block_frames"])])
        check_logits(model.decoder(data["tf_tokens"][None], heard)[0], data, "tf_block")


def test_a_causal_whisper(causal: Golden) -> None:
    """Whole, in steps of 300 ms, and through the memory of the decoder, chunk by chunk."""
    model, data = causal
    assert model.config.contexts == (Context.causal(15, 30),) and model.config.contexts[0].milliseconds == 300
    mel, expected = data["mel_stream"].T, data["enc_stream"]
    torch.testing.assert_close(model.encoder(Frames.whole(mel[None])).data[0, :390], expected, **ENCODER)
    heard = streamed(model.encoder, mel, [1] * 24)
    torch.testing.assert_close(heard, expected, **ENCODER)
    memory, state, one = model.decoder.init_memory(1), model.decoder.init_state(1), torch.tensor([0])
    for at, chunk in zip(range(0, 390, 15), heard.split(15), strict=True):
        place = Place(torch.tensor([at]), torch.tensor([390]), 15)
        model.decoder.extend(Frames(chunk[None], place), memory, one)
    logits = model.decoder.step(data["tf_tokens"][None], torch.tensor([0]), state, one, memory)
    check_logits(logits[0], data, "tf")


def test_features_of_a_stream_are_those_of_the_whole_signal(causal: Golden, plain: Golden) -> None:
    """Without a floor everywhere; with the running one from the loudest frame on."""
    samples = causal[1]["audio_int16"].float() / 32768
    whole, running = plain[0].mel, causal[0].mel
    assert (whole.config.peak, running.config.peak) == ("whole", "running")
    driver = Driver(running, 4800)
    got = torch.cat([*(driver.push(part) for part in samples.split(4321)), driver.flush()])
    expected = whole(Frames.whole(samples[None])).data[0]
    loudest = int(expected.amax(1).argmax())
    assert len(got) == len(expected) > loudest + 100
    torch.testing.assert_close(got[loudest:], expected[loudest:], atol=1e-5, rtol=0)
    heard = expected > expected.min()
    torch.testing.assert_close(got[heard], expected[heard], atol=1e-5, rtol=0)
