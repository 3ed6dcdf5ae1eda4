"""`speech listen` from the outside: a file at real speed, Ctrl-C, and a live microphone through PortAudio."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

import speech
from speech.cli.live import Timings
from speech.cli.main import app
from speech.hub.find import BUNDLED
from tests.asr.small import noise
from tests.cli.conftest import COMMAND, ENVIRONMENT, ROOT
from tests.cli.microphone import heard, words


def test_events_are_those_of_the_whole_file(tiny: Path, recording: Path, recogniser: speech.Recogniser) -> None:
    done = CliRunner().invoke(app, ["listen", "--input", str(recording), "--fast", "--json", "--model", str(tiny)])
    assert done.exit_code == 0, done.stderr
    *events, timings = map(json.loads, done.stdout.splitlines())
    finals = [event["text"] for event in events if event["type"] == "final"]
    assert " ".join(finals) == recogniser.transcribe(recording).text
    assert events[0]["type"] == "speech_start"
    assert (timings["type"], timings["audio"]) == ("timings", 1.5)
    assert timings["partials"] == sum(event["type"] == "partial" for event in events)
    assert 0 < timings["latency_median_ms"] <= timings["latency_p95_ms"]


def test_a_pipe_gets_finals_as_lines(tiny: Path, recording: Path, recogniser: speech.Recogniser) -> None:
    begin = time.perf_counter()
    done = CliRunner().invoke(app, ["listen", "--input", str(recording), "--model", str(tiny)])
    assert time.perf_counter() - begin >= 1.5
    assert done.stdout.splitlines() == [segment.text for segment in recogniser.transcribe(recording).segments]
    assert "1.5 s of audio, real-time factor" in done.stderr.splitlines()[-1]
    assert "ms (median)" in done.stderr


def test_samples_from_a_pipe(tiny: Path, recording: Path, recogniser: speech.Recogniser) -> None:
    samples = soundfile.read(recording, dtype="int16")[0].tobytes()
    args = ["listen", "--input", "-", "--raw", "16000", "--model", str(tiny)]
    done = CliRunner().invoke(app, args, input=samples)
    assert done.stdout.split() == recogniser.transcribe(recording).text.split()


def test_voice_ends_lines_and_changes_no_letter(tiny: Path, recogniser: speech.Recogniser) -> None:
    demo = ROOT / "demo" / "demo.flac"
    args = ["listen", "--input", str(demo), "--fast", "--voice", "--json", "--model", str(tiny)]
    done = CliRunner().invoke(app, args)
    events = list(map(json.loads, done.stdout.splitlines()))
    starts = [event["time"] for event in events if event["type"] == "speech_start"]
    assert len(starts) >= 4  # one a sentence
    letters = "".join(event["text"] for event in events if event["type"] == "final").replace(" ", "")
    assert letters == recogniser.transcribe(demo).text.replace(" ", "")


def test_what_was_heard_before_a_recording_breaks_comes_out(
    tiny: Path, recogniser: speech.Recogniser, tmp_path: Path
) -> None:
    samples = noise(2.0)
    samples[-100:] = float("nan")
    soundfile.write(tmp_path / "broken.wav", samples, 16000, subtype="FLOAT")
    args = ["listen", "--input", str(tmp_path / "broken.wav"), "--fast", "--model", str(tiny)]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1
    assert done.stdout.split() == recogniser.transcribe(samples[:-320], 16000).text.split()
    assert "expected finite samples" in done.stderr.splitlines()[-1]


def test_ctrl_c_brings_the_last_words(tiny: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", noise(60.0), 16000)
    command = [*COMMAND, "listen", "--input", "long.wav", "--json", "--model", str(tiny)]
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout and process.stderr
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        assert process.wait(30) == 0, process.stderr.read()
        assert "Traceback" not in process.stderr.read()
    *events, timings = map(json.loads, lines)
    assert events[-1]["type"] == "final"
    assert events[-1]["text"]
    assert 0 < timings["audio"] < 30


def test_timings_of_nothing() -> None:
    assert str(Timings()) == "0.0 s of audio"
    assert Timings().to_dict()["latency_p95_ms"] is None


@pytest.mark.parametrize("model", ["tiny", "asr"])
def test_a_live_microphone(model: str, tiny: Path, tmp_path: Path) -> None:
    if model == "asr" and not (BUNDLED / "asr").is_dir():
        pytest.skip("the bundled model is not there")
    samples, rate = soundfile.read(ROOT / "demo" / "demo.flac", dtype="float32")
    sentence = ROOT.joinpath("demo", "demo.txt").read_text().splitlines()[2]  # which lies at 9 to 13 s
    soundfile.write(tmp_path / "played.wav", samples[9 * rate : 13 * rate] if model == "asr" else noise(2.0), rate)
    name = model if model == "asr" else str(tiny)
    *events, timings = heard(name, tmp_path / "played.wav", tmp_path)
    said = [word.lower() for word in words(events)]
    assert timings["audio"] >= soundfile.info(tmp_path / "played.wav").duration
    if model == "asr":
        wanted = sentence.lower().replace(",", "").replace(".", "").split()
        assert sum(word in said for word in wanted) >= len(wanted) / 2, said
    else:
        assert said
