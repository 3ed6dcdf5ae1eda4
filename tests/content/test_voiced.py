"""Telling recordings of a voice from others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speech.audio.file import read
from speech.audio.resample import resample
from speech.content.voiced import ENOUGH, LITTLE, NONE, VoiceShare, require_voice
from speech.errors import SpeechError
from tests.sounds import music, said

RATE = 16000
TIME = np.arange(3 * RATE) / RATE
NOISE = np.random.default_rng(0).standard_normal(3 * RATE)

WITHOUT = {
    "white noise": 0.1 * NOISE,
    "faint noise": 0.003 * NOISE,
    "low noise": 0.01 * np.cumsum(NOISE - NOISE.mean()),
    "hum": 0.2 * sum(np.sin(2 * np.pi * 50 * k * TIME) / k for k in range(1, 8)),
    "tone": 0.3 * np.sin(2 * np.pi * 440 * TIME),
    "clicks": np.where(np.arange(len(TIME)) % 4000 < 3, 0.5, 0.0),
    "music": music(3.0),
}


def share(samples: np.ndarray) -> float | None:
    heard = VoiceShare()
    heard.push(samples.astype(np.float32))
    return heard.share


@pytest.mark.parametrize("name", WITHOUT)
def test_nobody_speaks(name: str) -> None:
    if name == "clicks":  # which leave too little that sounds
        assert share(WITHOUT[name]) is None
        return
    found = share(WITHOUT[name])
    assert found is not None and found < NONE
    with pytest.raises(SpeechError, match="nobody seems to speak"):
        require_voice("a.wav", WITHOUT[name].astype(np.float32))


def test_somebody_speaks(recwarn: pytest.WarningsRecorder) -> None:
    speech = said(3.0)
    noisy = speech + NOISE * np.sqrt(0.1 * np.mean(speech**2))
    for samples in (speech, 0.003 * speech, noisy, resample(resample(speech, RATE, 8000), 8000, RATE)):
        found = share(samples)
        assert found is not None and found > 0.5
        require_voice("a.wav", samples.astype(np.float32))
    require_voice("a.wav", np.concatenate([np.zeros(4 * RATE, np.float32), speech[: 2 * RATE]]))
    assert not recwarn.list


def test_of_real_recordings_none_is_taken_for_noise(shared: Path, recwarn: pytest.WarningsRecorder) -> None:
    """One of each corpus: other people, microphones and rooms."""
    for folder in sorted(path.parent for path in (shared / "data").glob("*/manifest.jsonl")):
        if "noise" in folder.name:
            continue
        audio = read(min(folder.glob("*.opus")))
        require_voice(folder.name, resample(audio.samples, audio.sample_rate, RATE)[: 3 * RATE])
    assert not recwarn.list


def test_a_voice_in_little_of_what_sounds_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"in a\.wav somebody speaks for 1\d% of what sounds only"):
        require_voice("a.wav", np.concatenate([music(6.0), said(1.0)]))


def test_a_recording_is_judged_as_it_comes_and_no_longer_than_needed() -> None:
    speech, heard = np.concatenate([said(5.5), WITHOUT["white noise"]]).astype(np.float32), VoiceShare()
    for at in range(0, len(speech), 4001):
        heard.push(speech[at : at + 4001])
    assert heard.done and heard._voiced == np.ceil(ENOUGH * RATE / 512)
    assert heard.share is not None and heard.share > 0.8 > LITTLE
    short = VoiceShare()
    short.push(speech[: RATE // 2])
    assert short.share is None and not short.done


def test_too_little_sound_to_tell_is_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    require_voice("a.wav", said(0.7))
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"in a\.wav too little sounds to tell whether somebody speaks"):
        require_voice("a.wav", music(0.7))
