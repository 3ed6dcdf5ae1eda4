"""`speech synthesize` from the outside: manifests, voices, going on where a run stopped, and bad lines."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from speech.audio.file import read
from speech.cli.main import app
from speech.tts.synthesiser import Synthesiser
from tests.cli.conftest import COMMAND, ENVIRONMENT
from tests.tts.small import RATE


def synthesize(talker: Path, *args: object, stdin: bytes | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, ["synthesize", *map(str, args), "--model", str(talker)], input=stdin)


def write(path: Path, *lines: dict | str) -> Path:
    """A manifest."""
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def results(folder: Path) -> dict[str, dict]:
    """The records of a folder, by file."""
    records = map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    return {record["file"]: record for record in records}


def test_lines_become_files(talker: Path, synthesiser: Synthesiser, tmp_path: Path) -> None:
    lines = write(
        tmp_path / "lines.jsonl",
        {"id": "one", "text": "First one.", "speaker": "of no concern"},
        {"id": 2, "text": "Second.", "voice": "prompted", "speed": 1.5, "seed": 7},
        {"text": "Third."},
    )
    done = synthesize(talker, lines, "--out", tmp_path / "out", "--format", "flac")
    assert done.exit_code == 0, done.stderr
    found = results(tmp_path / "out")
    assert list(found) == ["one.flac", "2.flac", "00003.flac"]
    expected = synthesiser.synthesize("Second.", "prompted", speed=1.5, seed=7)
    np.testing.assert_allclose(read(tmp_path / "out" / "2.flac").samples, expected.samples.clip(-1, 1), atol=2 / 32768)
    second = found["2.flac"]
    assert second["seconds"] == pytest.approx(expected.seconds, abs=0.001) and second["sample_rate"] == RATE
    assert second["words"] == [word.to_dict() for word in expected.words]
    assert (second["id"], second["text"], second["voice"], second["speed"]) == ("2", "Second.", "prompted", 1.5)
    assert (found["one.flac"]["voice"], found["one.flac"]["seed"]) == (None, 0)
    assert done.stderr.startswith("speech: 3 spoken, ") and "real-time factor" in done.stderr
    assert not list((tmp_path / "out").glob(".*"))


def test_another_normaliser_makes_other_files(talker: Path, tmp_path: Path) -> None:
    pytest.importorskip("wetext", reason="the grammar extra is not installed")
    lines, said = write(tmp_path / "lines.txt", "It is No 5."), []
    for how in ([], ["--normaliser", "grammar"], ["--normaliser", "grammar"], []):
        done = synthesize(talker, lines, "--out", tmp_path / "out", *how)
        assert done.exit_code == 0, done.stderr
        (record,) = results(tmp_path / "out").values()
        said.append(
            (" ".join(word["text"] for word in record["words"]), record["normaliser"], "1 spoken" in done.stderr)
        )
    plain = ("It is No five", None, True)
    read_by_grammar = "It is Number five", "grammar"
    assert said == [plain, (*read_by_grammar, True), (*read_by_grammar, False), plain]


def test_plain_lines_in_each_of_several_voices(talker: Path, tmp_path: Path) -> None:
    lines = b"Said first.\n\nSaid second.\n"
    voices = ["--voice", "plain", "--voice", "prompted"]
    done = synthesize(talker, "-", "--out", tmp_path / "out", *voices, "--json", stdin=lines)
    assert done.exit_code == 0, done.stderr
    records = list(map(json.loads, done.stdout.splitlines()))
    assert {record["file"]: record["text"] for record in records} == {
        "plain/00001.wav": "Said first.",
        "prompted/00001.wav": "Said first.",
        "plain/00003.wav": "Said second.",
        "prompted/00003.wav": "Said second.",
    }
    assert results(tmp_path / "out") == {record["file"]: record for record in records}
    assert all(soundfile.info(tmp_path / "out" / record["file"]).duration > 0 for record in records)


def test_a_second_run_does_what_is_missing_or_changed(talker: Path, tmp_path: Path) -> None:
    lines, out = tmp_path / "lines.txt", tmp_path / "out"
    write(lines, "Stays as it is.", "Will be another.", "Will be lost.")
    assert synthesize(talker, lines, "--out", out).exit_code == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.wav")}
    write(lines, "Stays as it is.", "Is another now.", "Will be lost.", "Comes anew.")
    (out / "00003.wav").unlink()
    (out / "results.jsonl").open("a").write('{"file": "00001.wav", "te')  # a run that was killed
    done = synthesize(talker, lines, "--out", out)
    assert done.exit_code == 0 and "3 spoken, 1 done before" in done.stderr
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.wav")}
    assert after["00001.wav"] == before["00001.wav"] and after["00002.wav"] > before["00002.wav"]
    assert sorted(after) == sorted(results(out)) == [f"0000{n}.wav" for n in range(1, 5)]
    assert results(out)["00002.wav"]["text"] == "Is another now."
    assert "4 done before" in synthesize(talker, lines, "--out", out).stderr
    assert "4 spoken" in synthesize(talker, lines, "--out", out, "--speed", 2).stderr
    assert "4 spoken" in synthesize(talker, lines, "--out", out, "--speed", 2, "--overwrite").stderr


def test_bad_lines_do_not_stop_the_rest(talker: Path, tmp_path: Path) -> None:
    lines = write(
        tmp_path / "lines.jsonl",
        {"id": "good", "text": "A good one."},
        {"id": "empty", "text": ""},
        "{broken",
        '["no object"]',
        {"id": "../up", "text": "Where to?"},
        {"id": "good", "text": "Once more."},
        {"id": "loud", "text": "Hello.", "speed": "fast"},
        {"id": "quick", "text": "Hello.", "speed": 99},
        {"id": "who", "text": "Hello.", "voice": "nobody"},
        {"id": "odd", "text": "Hello <b>there."},
    )
    with lines.open("ab") as file:
        file.write(b'{"id": "bytes", "text": "caf\xe9"}\n')
    done = synthesize(talker, lines, "--out", tmp_path / "out")
    assert done.exit_code == 1
    *sentences, last = done.stderr.splitlines()
    for sentence, what in zip(
        sentences,
        [
            "line 3: expected a JSON object, got none",
            'line 4: expected a JSON object with a "text"',
            "line 5: expected an id of letters",
            "line 6: expected an id of its own",
            "line 7: expected speed as float",
            "line 11: expected UTF-8",
            "empty.wav: expected text with words",
            "quick.wav: expected a speed of",
            "who.wav: expected a voice of the model (plain, prompted) or a recording of one, got 'nobody'",
        ],
        strict=True,
    ):
        assert sentence.startswith(f"speech: {what}"), sentence
    assert last.startswith("speech: 2 spoken, 9 failed, 1 with warnings, see the results, ")
    found = results(tmp_path / "out")
    assert list(found) == ["good.wav", "odd.wav"] and found["odd.wav"]["warnings"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.wav", "odd.wav", "results.jsonl"]
    again = synthesize(talker, lines, "--out", tmp_path / "out")
    assert again.exit_code == 1 and "0 spoken, 2 done before" in again.stderr


def test_ctrl_c_keeps_what_is_done(talker: Path, tmp_path: Path) -> None:
    lines = write(tmp_path / "lines.txt", "Short.", "and on it goes, " * 4000)
    command = [*COMMAND, "synthesize", str(lines), "--out", "out", "--json", "--model", str(talker)]
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=-1, stderr=-1) as process:
        assert process.stdout and process.stderr
        assert json.loads(process.stdout.readline())["file"] == "00001.wav"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        notes = process.stderr.read().decode()
    assert "1 spoken" in notes and "the same command goes on from there" in notes and "Traceback" not in notes
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00001.wav", "results.jsonl"]
    assert list(results(tmp_path / "out")) == ["00001.wav"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["none.txt"], "expected a manifest, but 'none.txt'"),
        (["blank.txt"], "expected lines of text in 'blank.txt', it has none"),
        (
            ["lines.txt", "--voice", "nobody"],
            "expected a voice of the model (plain, prompted) or a recording of one, got 'nobody'",
        ),
        (["lines.txt", "--out", "lines.txt"], "expected a folder to write to, got lines.txt"),
    ],
)
def test_a_wrong_choice_is_one_sentence(
    talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("lines.txt"), "One line.")
    write(Path("blank.txt"), "", "  ")
    done = synthesize(talker, "--out", "out", *args)
    assert (done.exit_code, done.stdout) == (1, "")
    assert sentence in done.stderr and done.stderr.count("\n") == 1


def test_wrong_usage_ends_with_2(tmp_path: Path) -> None:
    for args in (["lines.txt"], ["a", "--out", "b", "--format", "aac"], ["a", "--out", "b", "--voice-text", "hm"]):
        assert CliRunner().invoke(app, ["synthesize", *args]).exit_code == 2
