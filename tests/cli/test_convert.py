"""`speech convert` from the outside: folders, resuming, recordings and targets that are no good."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from speech.cli.main import app
from speech.hub.checkpoint import TARGETS, save
from speech.hub.load import load_converter
from speech.vc.voice import pack_targets
from tests.sounds import said
from tests.vc.small import small_converter, voice


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder of a converter: random weights, the targets `anna` and `ben`."""
    small = small_converter()
    folder = tmp_path_factory.mktemp("model") / "small"
    return save(folder, small.model, "", {TARGETS: pack_targets(small._voices)}, dtype=None)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    soundfile.write(folder / "plain.wav", voice(0.4), 16000)
    soundfile.write(folder / "deep" / "narrow.flac", voice(0.3, 8000), 8000)
    return folder


def run(*args: object) -> Result:
    done = CliRunner().invoke(app, ["convert", *map(str, args)])
    assert "Traceback" not in done.output
    return done


def test_a_batch_goes_on_past_bad_recordings_and_resumes(model: Path, recordings: Path, tmp_path: Path) -> None:
    out, bad = tmp_path / "out", tmp_path / "bad"
    bad.mkdir()
    (bad / "text.wav").write_text("no sound")
    soundfile.write(bad / "silent.wav", np.zeros(16000), 16000)
    command = (recordings, "--to", "ben", "--model", model, "--out", out)
    first = run(*command, bad, "missing.wav", "--json")
    assert first.exit_code == 1, first.output
    told = [json.loads(line) for line in first.stdout.splitlines()]
    assert {Path(record["source"]).name for record in told if "error" in record} == {
        "text.wav",
        "silent.wav",
        "missing.wav",
    }
    assert "2 converted, 3 failed" in first.stderr.splitlines()[-1]
    for name in ("text.wav", "silent.wav", "missing.wav"):
        assert sum(name in line for line in first.stderr.splitlines()) == 1

    made, rate = soundfile.read(out / "plain.wav", dtype="float32")
    wanted = load_converter(model, "cpu").convert(recordings / "plain.wav", "ben").samples
    assert rate == 16000
    np.testing.assert_allclose(made, wanted, atol=1e-4)
    assert {path.name for path in out.rglob("*.*")} == {"plain.wav", "narrow.wav", "results.jsonl"}

    before = (out / "plain.wav").stat().st_mtime_ns
    (out / "deep" / "narrow.wav").unlink()
    second = run(*command)
    assert second.exit_code == 0 and "1 converted, 1 done before" in second.stderr
    assert (out / "plain.wav").stat().st_mtime_ns == before
    other = run(recordings, "--to", "anna", "--model", model, "--out", out)
    assert "2 converted" in other.stderr and "done before" not in other.stderr


def test_what_came_before_a_cut_is_kept_and_made_again(model: Path, recordings: Path, tmp_path: Path) -> None:
    plain, out = recordings / "plain.wav", tmp_path / "out"
    whole = plain.read_bytes()
    plain.write_bytes(whole[: len(whole) * 3 // 4])
    command = (plain, "--to", "ben", "--model", model, "--out", out)
    first = run(*command)
    assert first.exit_code == 1 and "it was cut short" in first.stderr and "0 converted, 1 failed" in first.stderr
    assert f"what came before is in {out / 'plain.wav'}" in first.stderr
    assert 0 < soundfile.info(out / "plain.wav").duration <= 0.3
    plain.write_bytes(whole)
    assert run(*command).exit_code == 0
    assert soundfile.info(out / "plain.wav").duration == pytest.approx(0.4)


def test_one_file_into_another_format(model: Path, recordings: Path, tmp_path: Path) -> None:
    for number in range(2):
        soundfile.write(tmp_path / f"friend{number}.wav", (60 * number + 1) * said(1.2, start=4.0 * number + 2), 16000)
    friends = ["--to", tmp_path / "friend0.wav", "--to", tmp_path / "friend1.wav"]
    for name in ("a.mp3", "a.ogg", "deep/a.flac"):
        done = run(recordings / "plain.wav", *friends, "--model", model, "--out", tmp_path / name)
        assert done.exit_code == 0, done.output
        assert "friend1.wav is clipped" in done.stderr and "1 converted" in done.stderr
        assert soundfile.info(tmp_path / name).duration == pytest.approx(0.4, abs=0.05)
    assert not (tmp_path / "results.jsonl").exists()


def test_what_cannot_be_done_is_told_first(model: Path, recordings: Path, tmp_path: Path) -> None:
    plain = recordings / "plain.wav"
    for args, sentence in (
        ((plain, "--to", "nobody", "--out", tmp_path / "out"), "expected a target of the model (anna, ben)"),
        ((recordings, "--to", "ben", "--out", tmp_path / "a.wav"), "expected a folder for 2 recordings"),
        ((plain, "--to", "ben", "--out", recordings), "would be written over"),
        ((recordings, "--to", "ben", "--out", recordings), "would be written over"),
        ((plain, "--to", "ben", "--out", plain), "would be written over"),
        ((plain, "--to", "ben", "--out", tmp_path / "a.m4a"), "a name that ends in .wav, .flac"),
    ):
        done = run(*args, "--model", model)
        assert done.exit_code == 1 and sentence in done.stderr, done.output
        assert len(done.stderr.splitlines()) == 1
    assert len(soundfile.read(plain)[0]) == 6400
    inside = recordings / "out"
    assert run(recordings, "--to", "ben", "--model", model, "--out", inside).exit_code == 0
    assert "0 converted, 2 done before" in run(recordings, "--to", "ben", "--model", model, "--out", inside).stderr
