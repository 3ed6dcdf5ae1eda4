from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("pocketsphinx", reason="the training extra is not installed")

import soundfile
import soxr

from recipes.tts_small.align import Aligner, stressed_as
from recipes.tts_small.tracks import PHONES


def test_phones_of_a_recording_fill_it_and_its_words_are_all_there(shared: Path) -> None:
    folder = shared / "data" / "librispeech_test_clean"
    row = json.loads((folder / "manifest.jsonl").read_text().splitlines()[0])
    samples, rate = soundfile.read(folder / row["audio"], dtype="float32")
    samples, text = soxr.resample(samples, rate, 16000), row["text"].lower()
    aligner = Aligner()
    found = aligner(samples, text)
    assert found is not None
    assert found.frames.sum() == len(samples) // 160
    assert found.words.max() + 1 == len(text.split())
    silent = found.phones == PHONES.index("SIL")
    np.testing.assert_array_equal(silent, found.words == -1)
    edges = np.concatenate([[0], found.frames.cumsum()]) * 160
    level = np.array([np.abs(samples[a:b]).mean() for a, b in pairwise(edges)])
    assert level[~silent].mean() > 2 * level[silent].mean()
    strange = aligner(samples, text.replace(text.split()[0], "qwzxing", 1))  # no dictionary has it
    assert strange is None or strange.words.max() + 1 == len(text.split())
    assert aligner(samples, "") is None


@pytest.mark.parametrize(
    ("spoken", "known", "stressed"),
    [
        ("DH IY", "DH AH0", "DH IY0"),
        ("T AH M AA T OW", "T AH0 M EY1 T OW2", "T AH0 M AA1 T OW2"),
        ("F AY R", "F AY1 ER0", "F AY1 R"),
        ("S T", "EH1 S T", "S T"),
    ],
)
def test_stress_comes_from_the_known_pronunciation(spoken: str, known: str, stressed: str) -> None:
    assert stressed_as(spoken.split(), known.split()) == stressed.split()
