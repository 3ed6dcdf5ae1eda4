"""The synthesiser that ships with the package."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import speech
from speech.flow.model import Flow
from speech.flow.stream import FlowSetup, FlowStream
from speech.hub.checkpoint import load_folder
from speech.hub.find import locate
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames
from speech.tts.render import Acoustics
from speech.vocoder.model import Vocoder

TEXT = "Good morning. One, two, three."


@pytest.fixture(scope="module")
def synthesiser() -> speech.Synthesiser:
    return speech.load("tts", "cpu")


def test_it_is_small_and_has_voices(synthesiser: speech.Synthesiser) -> None:
    assert len(synthesiser.voices) >= 4
    assert sum(file.stat().st_size for file in locate("tts").iterdir()) < 60e6
    assert sum(p.numel() for p in synthesiser.model.parameters()) < 40e6


@pytest.mark.parametrize("voice", [0, -1])
def test_whole_and_streamed_text_sound_alike(synthesiser: speech.Synthesiser, voice: int) -> None:
    name = synthesiser.voices[voice]
    whole = synthesiser.synthesize(TEXT, name, seed=1)
    assert 1.0 < whole.seconds < 8.0 and np.abs(whole.samples).max() > 0.05
    assert [word.text for word in whole.words] == ["Good", "morning", "One", "two", "three"]
    with synthesiser.stream([TEXT[:7], TEXT[7:]], name, seed=1) as stream:
        parts = [part.samples for part in stream]
    assert len(parts) > 3
    np.testing.assert_allclose(np.concatenate(parts), whole.samples, atol=1e-4)


def _chunked_and_whole(flow: Flow, vocoder: Vocoder, speaker: Tensor) -> list[tuple[Tensor, Tensor]]:
    """In chunks and by one call, of the same codes: mel frames, samples of the whole's mel frames, and samples."""
    tokens = torch.randint(flow.config.vocabulary, (30,), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mel = flow(tokens[None], speaker[None]).data[0]
        sound = vocoder(Frames.whole(mel[None])).data[0].flatten()
    stream, (_, frames) = FlowStream(FlowSetup.of(flow), speaker), Acoustics(flow, vocoder).chunks()
    made = torch.cat([stream.push(tokens), stream.flush()])

    def heard(mel: Tensor) -> Tensor:
        driver = Driver(vocoder, frames, shape=mel.shape[1:], outputs=())
        return torch.cat([driver.push(mel), driver.flush()]).flatten()

    return [(made, mel), (heard(mel), sound), (heard(made), sound)]


def test_chunks_of_codes_equal_the_whole(synthesiser: speech.Synthesiser) -> None:
    """Each stage in float32. Both at once differ by rounding: it moves the pitch, which the source's phase sums up."""
    model, voice = synthesiser.model, synthesiser._voices[synthesiser.voices[0]]
    mel, sound, both = _chunked_and_whole(model.flow, model.vocoder, voice.speaker)
    torch.testing.assert_close(*mel, atol=1e-4, rtol=0)
    torch.testing.assert_close(*sound, atol=1e-4, rtol=0)
    torch.testing.assert_close(*both, atol=1e-3, rtol=0)


def test_chunks_of_codes_equal_the_whole_but_for_rounding() -> None:
    """All the way from codes to samples, in float64."""
    model = load_folder(locate("tts")).model.eval().double()
    speaker = torch.randn(model.flow.config.speaker, generator=torch.Generator().manual_seed(0)).double()
    for chunked, whole in _chunked_and_whole(model.flow, model.vocoder, speaker):
        torch.testing.assert_close(chunked, whole, atol=1e-9, rtol=0)
