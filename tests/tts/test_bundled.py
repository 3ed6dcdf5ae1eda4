"""The synthesiser that ships with the package."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import speech
from speech.flow.stream import FlowSetup, FlowStream
from speech.hub.find import locate
from speech.streaming.driver import Driver
from speech.streaming.frames import Frames

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


def test_chunks_of_codes_equal_the_whole(synthesiser: speech.Synthesiser) -> None:
    """Mel frames of the same codes, and samples of the same mel frames, beside those of one call for all of them.

    Both at once differ by less than can be heard: rounding moves the pitch, and the phase of the source sums that up.
    """
    flow, vocoder = synthesiser.model.flow, synthesiser.model.vocoder
    voice = synthesiser._voices[synthesiser.voices[0]]
    tokens = torch.randint(flow.config.vocabulary, (30,), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mel = flow(tokens[None], voice.speaker[None]).data[0]
        sound = vocoder(Frames.whole(mel[None])).data[0].flatten()
    stream = FlowStream(FlowSetup.of(flow), voice.speaker)
    torch.testing.assert_close(torch.cat([stream.push(tokens), stream.flush()]), mel, atol=1e-4, rtol=0)
    _, frames = synthesiser._setup.acoustics.chunks()
    driver = Driver(vocoder, frames, shape=mel.shape[1:], outputs=())
    torch.testing.assert_close(torch.cat([driver.push(mel), driver.flush()]).flatten(), sound, atol=1e-4, rtol=0)
