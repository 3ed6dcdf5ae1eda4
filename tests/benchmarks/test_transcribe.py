"""The delay of words, on events made by hand, and a Whisper measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch

from benchmarks.run import main
from benchmarks.transcribe import word_delays
from speech.asr.events import Event, Final, Partial, SpeechEnd, SpeechStart, Word
from speech.hub.checkpoint import save
from tests.asr.whisper.toy import RATE, counted, counter, letter_tokenizer, tones


def final(*words: Word) -> Final:
    return Final(" ".join(w.text for w in words), words, words[0].start, words[-1].end, 1.0)


def test_a_word_counts_from_the_first_event_that_shows_it_whole() -> None:
    red, hats, again = Word("red", 0.1, 0.4, 1.0), Word("hats", 0.5, 0.9, 1.0), Word("red", 2.0, 2.3, 1.0)
    events: list[tuple[float, Event]] = [
        (0.5, SpeechStart(0.1)),
        (0.5, Partial("red", 0, 0.1, 0.4)),
        (0.9, Partial("red hat", 3, 0.1, 0.8)),  # not yet the word that it becomes
        (1.1, Partial("red hats", 3, 0.1, 0.9)),
        (1.8, SpeechEnd(0.9)),
        (1.8, final(red, hats)),
        (3.0, final(again)),  # no partial before: the final itself shows it; the utterance before does not
    ]
    assert word_delays(events) == pytest.approx([0.1, 0.2, 0.7])


def test_a_whisper_is_measured_by_its_chunks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = letter_tokenizer(tmp_path).to_json().encode()
    model = save(tmp_path / "model", counter(causal=True), "# Counter\n", {"tokenizer.json": words}, dtype=None)
    soundfile.write(tmp_path / "letters.wav", tones([-1, *counted(8), -1]), RATE)
    before = torch.get_num_threads()
    options = ["--model", str(model), "--audio", str(tmp_path / "letters.wav"), "--chunk", "200"]
    assert main(["transcribe", "--smoke", "--json", *options]) == 0
    torch.set_num_threads(before)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["case"] for row in rows} >= {"200 ms, whole file", "200 ms, live"}
    assert [row["value"] for row in rows if row["metric"] == "words"] == [8]
