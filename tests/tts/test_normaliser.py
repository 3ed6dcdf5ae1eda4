"""Another reader of numbers and abbreviations: by a name or a function, whole, in pieces and in an engine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import speech
from speech.errors import SpeechError
from speech.hub.checkpoint import save
from speech.tts.session import Speech
from speech.tts.synthesiser import Synthesiser
from speech.tts.text.normalise import Reading, read
from speech.tts.voice import pack_voices
from tests.asr.small import small_model
from tests.tts.small import small_synthesiser

TEXT = 'It is 3:2, <sub alias="4:1">now</sub>.'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = small_synthesiser()
    voices = {"voices.safetensors": pack_voices({name: small._voices[name] for name in small.voices})}
    return save(tmp_path_factory.mktemp("model") / "talker", small.model, "# T\n", voices, dtype=None)


@pytest.fixture(scope="module", params=["function", "grammar"])
def synthesiser(request: pytest.FixtureRequest, folder: Path) -> Synthesiser:
    if request.param == "grammar":
        pytest.importorskip("wetext", reason="the grammar extra is not installed")
    return speech.load(folder, "cpu", normaliser=scores if request.param == "function" else "grammar")


def scores(text: str) -> list[Reading]:
    """A reader of the user's."""
    return [Reading(part.written, part.spoken.replace(":", " to ")) for part in read(text)]


def assert_said(parts: list[Speech], whole: Speech) -> None:
    np.testing.assert_allclose(np.concatenate([part.samples for part in parts]), whole.samples, atol=1e-5)
    assert tuple(word for part in parts for word in part.words) == whole.words


def test_it_reads_all_that_is_said(synthesiser: Synthesiser, folder: Path) -> None:
    said = synthesiser.synthesize(TEXT, seed=1)
    assert [word.text for word in said.words] == "It is three to two four to one".split()
    assert_said([speech.load(folder, "cpu").synthesize("It is three to two, four to one.", seed=1)], said)
    with synthesiser.stream(iter(TEXT), seed=1) as stream:
        assert_said(list(stream), said)
    with speech.Engine(synthesiser, slots=2) as engine, engine.open(seed=1) as session:
        session.push(TEXT)
        session.end()
        assert_said(list(session), said)


def test_what_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vocab.txt").write_text("the\n")
    listens = save(tmp_path / "asr", small_model(), "", {"vocab.txt": tmp_path / "vocab.txt"})
    with pytest.raises(SpeechError, match=r"for the recogniser \S+asr, got normaliser: leave that out"):
        speech.load(listens, normaliser="rules")
    with pytest.raises(SpeechError, match="expected rules, grammar or a function as normaliser, got 'nemo': choose"):
        speech.load(folder, "cpu", normaliser="nemo")
    with pytest.raises(SpeechError, match="expected Readings that together are"):
        speech.load(folder, "cpu", normaliser=lambda text: []).synthesize(TEXT)
    monkeypatch.setitem(sys.modules, "wetext", None)
    with pytest.raises(
        SpeechError, match="expected the library wetext for the grammar, found none: pip install wetext"
    ):
        speech.load(folder, "cpu", normaliser="grammar")
