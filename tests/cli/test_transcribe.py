"""`speech transcribe` from the outside: formats, folders, resuming, standard input, recordings that are no good."""

from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import speech
from speech.cli.batch import Job
from speech.cli.main import app
from speech.cli.transcribe import Batch, Format
from tests.asr.small import noise
from tests.cli.conftest import Run, silence


def make_good(folder: Path) -> list[Path]:
    """Recordings that are odd but fine."""
    folder.mkdir()
    (folder / "deep").mkdir()
    half = noise(1.0)
    half[8000:] = 0
    sounds = {
        "plain.wav": (noise(1.5), 16000),
        "deep/narrow.flac": (noise(1.0, 1, 8000), 8000),
        "two.ogg": (np.stack([noise(0.6, k, 48000) for k in range(2)], 1), 48000),
        "short.wav": (noise(0.03), 16000),
        "half.wav": (half, 16000),
    }
    for name, (samples, rate) in sounds.items():
        soundfile.write(folder / name, samples, rate)
    return [folder / name for name in sounds]


def make_bad(folder: Path) -> list[Path]:
    """Recordings that cannot be transcribed, each for a reason of its own."""
    folder.mkdir()
    soundfile.write(folder / "whole.wav", noise(0.2), 16000, subtype="FLOAT")
    whole = (folder / "whole.wav").read_bytes()
    (folder / "whole.wav").unlink()
    rate = whole.index(b"fmt ") + 12
    files = {
        "empty.wav": b"",
        "text.wav": b"These words are no sound.\n",
        "header.wav": whole[: whole.index(b"data") + 4] + b"\0\0\0\0",
        "cut.wav": whole[:20],
        "0hz.wav": whole[:rate] + bytes(4) + whole[rate + 4 :],
        "nan.wav": whole[:-4] + struct.pack("<f", float("nan")),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sounds = {
        "nothing.wav": np.full(16000, np.nan, np.float32),
        "silent.wav": silence(0.6, 2),
        "one.wav": noise(0.1)[:1],
        "eight.wav": np.stack([noise(0.5, k) for k in range(8)], 1),
    }
    for name, samples in sounds.items():
        soundfile.write(folder / name, samples, 16000, subtype="FLOAT")
    return [folder / name for name in (*files, *sounds)]


def test_a_batch_goes_on_past_bad_recordings_and_resumes(
    cli: Run, tiny: Path, recogniser: speech.Recogniser, tmp_path: Path
) -> None:
    good, bad, out = make_good(tmp_path / "good"), make_bad(tmp_path / "bad"), tmp_path / "out"
    formats = [f"--format={name}" for name in ("text", "json", "srt", "vtt")]
    command = ("transcribe", tmp_path / "good", "--model", tiny, "--output", out, *formats)

    first = cli(*command, tmp_path / "bad", "missing.wav")
    assert first.returncode == 1
    assert first.stdout == ""
    for path in [*bad, Path("missing.wav")]:
        lines = [line for line in first.stderr.splitlines() if path.name in line]
        assert len(lines) == 1, first.stderr
        assert lines[0].startswith("speech: expected ")
    assert "5 transcribed, 11 failed" in first.stderr.splitlines()[-1]

    for path in good:
        base = out / path.relative_to(tmp_path / "good")
        expected = recogniser.transcribe(path)
        told = json.loads(base.with_suffix(".json").read_text())
        assert told == json.loads(json.dumps(expected.to_dict()))
        assert base.with_suffix(".txt").read_text().split() == expected.text.split()
        assert base.with_suffix(".vtt").read_text().startswith("WEBVTT\n")
        assert base.with_suffix(".srt").exists()
    assert (out / "plain.txt").read_text().strip()
    assert (out / "plain.srt").read_text().startswith("1\n00:00:0")
    assert len([path for path in out.rglob("*") if path.is_file()]) == 4 * len(good)

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    (out / "deep/narrow.srt").unlink()
    second = cli(*command, "--json")
    assert second.returncode == 0
    told = {Path(line["file"]).name: line for line in map(json.loads, second.stdout.splitlines())}
    assert {name for name, line in told.items() if not line.get("skipped")} == {"narrow.flac"}
    assert "1 transcribed, 4 done before" in second.stderr
    assert before.keys() == {*out.rglob("*.*")}
    assert all(path.stat().st_mtime_ns == then for path, then in before.items() if path.stem != "narrow")


def test_one_of_many_channels_is_heard(cli: Run, tiny: Path, recogniser: speech.Recogniser, tmp_path: Path) -> None:
    sounds = np.stack([noise(1.5, k) for k in range(8)], 1)
    soundfile.write(tmp_path / "eight.wav", sounds, 16000, subtype="FLOAT")
    for channel, heard in ((3, sounds[:, 2]), ("mix", sounds.mean(1))):
        done = cli("transcribe", "eight.wav", "--channel", channel, "--model", tiny)
        assert done.stdout.split() == recogniser.transcribe(heard, 16000).text.split()
    live = cli("listen", "--input", "eight.wav", "--fast", "--channel", 3, "--model", tiny)
    assert live.stdout.split() == recogniser.transcribe(sounds[:, 2], 16000).text.split()
    for wrong, code, sentence in ((9, 1, "expected a channel of 1 to 8 or mix, got 9"), ("left", 2, "mix, got 'left'")):
        done = cli("transcribe", "eight.wav", "--channel", wrong, "--model", tiny)
        assert (done.returncode, done.stdout) == (code, "") and sentence in " ".join(done.stderr.split())


@pytest.mark.parametrize("name", ["silent.wav", "one.wav", "eight.wav", "nothing.wav"])
def test_listen_tells_what_cannot_be_heard(cli: Run, tiny: Path, tmp_path: Path, name: str) -> None:
    make_bad(tmp_path / "bad")
    done = cli("listen", "--input", tmp_path / "bad" / name, "--fast", "--model", tiny)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line for line in done.stderr.splitlines() if line.startswith("speech: expected ")], done.stderr


def test_namesakes_are_written_apart_and_resumed(tiny: Path, recording: Path, tmp_path: Path) -> None:
    samples, rate = soundfile.read(recording)
    for name in ("a.wav", "a.flac", "b.wav"):
        soundfile.write(tmp_path / name, samples, rate)
    command = ["transcribe", str(tmp_path), "--model", str(tiny), "--output", str(tmp_path / "out")]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.wav.txt", "a.flac.txt", "b.txt"}
    assert "0 transcribed, 3 done before" in CliRunner().invoke(app, command).stderr


def test_json_lines_tell_of_good_and_bad(tiny: Path, recording: Path, recogniser: speech.Recogniser) -> None:
    args = ["transcribe", recording, "missing.wav", "--json", "--model", tiny, "--look-ahead", 0, "--decoder", "ctc"]
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    assert done.exit_code == 1
    good, bad = map(json.loads, done.stdout.splitlines())
    expected = recogniser.transcribe(recording, look_ahead=0, decoder="ctc")
    assert (good["file"], good["text"], good["duration"]) == (str(recording), expected.text, 1.5)
    assert "No such file" in bad["error"]


def test_of_a_recording_that_breaks_off_the_words_stay(tiny: Path, recording: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(recording.read_bytes()[: 44 + 2 * 16000])
    done = CliRunner().invoke(app, ["transcribe", str(cut), "--model", str(tiny), "--output", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "ends after 1.00 s: it was cut short" in done.stderr and "0 transcribed, 1 failed" in done.stderr
    assert (tmp_path / "out/cut.txt").exists()


def test_a_recording_on_standard_input(cli: Run, tiny: Path, recording: Path, recogniser: speech.Recogniser) -> None:
    done = cli("transcribe", "-", "--model", tiny, stdin=recording.read_bytes())
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == recogniser.transcribe(recording).text.split()


def test_samples_on_standard_input_that_stop_within_one(
    tiny: Path, recording: Path, recogniser: speech.Recogniser
) -> None:
    samples = soundfile.read(recording, dtype="int16")[0].tobytes() + b"\1"
    done = CliRunner().invoke(app, ["transcribe", "-", "--model", str(tiny), "--raw", "16000"], input=samples)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == recogniser.transcribe(recording).text.split()


def test_names_that_are_no_text_are_escaped(cli: Run, tiny: Path, recording: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(b"odd\xff.wav"))
    try:
        (tmp_path / odd).write_bytes(recording.read_bytes())
    except OSError:
        pytest.skip("this file system takes only names that are text")
    done = cli("transcribe", odd, "missing.wav", "--model", tiny, "--json")
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [str(odd), "missing.wav"]
    assert cli("transcribe", odd, recording, "--model", tiny).returncode == 0


def test_a_reader_that_leaves_ends_the_batch(tiny: Path, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    batch, job = Batch(verb="transcribed", forms=[Format.text], as_json=False, heading=False), Job(recording)
    monkeypatch.setattr("sys.stdout", Left())
    with pytest.raises(BrokenPipeError):
        batch.run([job, job], speech.load(tiny, device="cpu"), None)
    assert (batch.done, batch.failed) == (0, [])


def test_an_output_folder_that_cannot_be_is_told_before_the_work(cli: Run, tiny: Path, recording: Path) -> None:
    done = cli("transcribe", recording, "--model", tiny, "--output", recording)
    assert done.returncode == 1
    assert done.stderr.startswith("speech: expected a folder to write to")
    assert len(done.stderr.splitlines()) == 1


def test_standard_input_that_is_closed(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(speech.SpeechError, match="standard input, but it is closed"):
        speech.load(tiny, device="cpu").transcribe("-")
