"""The benchmark of Whisper: what a chunk costs by how much was heard."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from benchmarks.run import main
from benchmarks.whisper import RATE, SPOKEN, Stream
from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.model import Whisper


def test_all_three_ways_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    assert main(["whisper", "--smoke", "--json"]) == 0
    torch.set_num_threads(before)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ways = {row["case"].partition(" heard: ")[2] for row in rows}
    assert ways == {"stream", "from the start", "window again"} and all(row["value"] > 0 for row in rows)


def test_the_text_grows_as_speech_does() -> None:
    torch.manual_seed(0)
    config = WhisperConfig.public("tiny", (Context.causal(15, 30),))
    stream = Stream(Whisper(replace(config, dim=16, encoder_heads=2, decoder_heads=2)).eval())
    assert SPOKEN.guard is not None
    for seconds in (1.0, 3.0):
        stream.hear(seconds)
        heard = stream.texts["memory"]["heard"].item() * config.frame
        assert abs(heard - stream.at / RATE) < 0.1
        assert stream.ids == SPOKEN.guard.most(heard)


def test_hours_of_silence(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    assert main(["whisper", "--smoke", "--silence", "0.05", "--json"]) == 0
    torch.set_num_threads(before)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = {row["case"]: row["value"] for row in rows if row["metric"] == "events"}
    assert events == {"tiny, causal, 300 ms": 0, "tiny, plain": 0}
    kept = [row["value"] for row in rows if row["metric"] == "snapshot" and "causal" in row["case"]]
    assert len(kept) == 3 and max(kept) - min(kept) < 10_000
