"""Wrong usage, errors and the small verbs, in one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from speech.cli.main import Verbs, app
from speech.errors import SpeechError
from tests.cli.conftest import COMMAND, ENVIRONMENT


def invoke(*args: object, within: typer.Typer = app) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(within, [str(arg) for arg in args])


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--model", "no-such-model", "expected a model name"),
        ("--look-ahead", 70, "expected a look-ahead of 160, 80, 0 ms, got 70"),
        ("--decoder", "beam", "expected a decoder of rnnt, ctc, got 'beam'"),
        ("--device", "cuda:99", "got 'cuda:99'"),
        ("--device", "toaster", "expected a device of"),
        ("--raw", "0", "at least 1"),
        ("--raw", "16000,mp3", "s16le or f32le"),
    ],
)
@pytest.mark.parametrize("verb", ["transcribe", "listen"])
def test_a_wrong_choice_is_one_sentence(
    verb: str, option: str, value: object, sentence: str, tiny: Path, recording: Path
) -> None:
    source = [recording] if verb == "transcribe" else ["--input", recording, "--fast"]
    done = invoke(verb, *source, "--model", tiny, option, value)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("speech: expected ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        ["transcribe"],
        ["transcribe", "a.wav", "--format", "docx"],
        ["transcribe", "a.wav", "--format", "srt", "--format", "vtt"],
        ["transcribe", "a.wav", "b.wav", "--format", "srt"],
        ["transcribe", "-", "--raw", "telephone"],
        ["listen", "--threads", "0"],
        ["hear"],
    ],
)
def test_wrong_usage_ends_with_2(args: list[str]) -> None:
    done = invoke(*args)
    assert done.exit_code == 2
    assert "Usage" in done.stderr


def test_unexpected_errors_say_how_to_see_more() -> None:
    other = typer.Typer(cls=Verbs)

    @other.callback()
    def top(debug: bool = False) -> None:
        pass

    @other.command()
    def divide(by: int) -> None:
        if by < 0:
            raise SpeechError("expected a number\nabove 0")
        print(1 / by)

    done = invoke("divide", 0, within=other)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "ZeroDivisionError" in done.stderr
    assert "--debug" in done.stderr
    assert isinstance(invoke("--debug", "divide", 0, within=other).exception, ZeroDivisionError)
    assert invoke("divide", "--", -1, within=other).stderr == "speech: expected a number above 0\n"
    assert invoke("divide", 1, within=other).exit_code == 0


def test_models(tiny: Path, tmp_path: Path) -> None:
    names = [json.loads(line)["name"] for line in invoke("models", "list", "--json").stdout.splitlines()]
    assert "nvidia/stt_en_fastconformer_hybrid_large_streaming_multi" in names
    assert all(name in invoke("models", "list").stdout for name in names)
    about = json.loads(invoke("models", "info", tiny, "--json").stdout)
    assert (about["look_aheads"], sorted(about["heads"])) == ([160, 80, 0], ["ctc", "rnnt"])
    assert "160 ms, 80 ms, 0 ms" in invoke("models", "info", tiny).stdout
    (tmp_path / "bad.nemo").write_bytes(b"no archive")
    for args in (["import", tmp_path / "bad.nemo"], ["import", tmp_path / "no.nemo"], ["pull", "x"], ["info", "x"]):
        done = invoke("models", *args)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.stderr


def test_recipes_and_benchmarks_are_named() -> None:
    done = invoke("train", "no_such_recipe", "optim.lr=1")
    assert done.exit_code == 1
    assert "asr_small" in done.stderr


@pytest.mark.parametrize(("model", "known"), [("tiny", "look-aheads"), ("talker", "voices")])
def test_doctor(model: str, known: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(model)
    lines = [json.loads(line) for line in invoke("doctor", "--model", folder, "--json").stdout.splitlines()]
    checks = {line["name"]: line for line in lines}
    assert checks["self-check"]["good"], checks["self-check"]["found"]
    assert checks["torch"]["good"]
    assert checks["model"]["good"] and known in checks["model"]["found"]


def test_what_the_machine_has() -> None:
    broken = invoke("doctor", "--model", "no-such-model")
    assert broken.exit_code == 1
    assert "MISSING model" in broken.stdout
    assert '"name": "cpu"' in invoke("devices", "--json").stdout
    assert "cpu" in invoke("devices").stdout


def test_ctrl_c_is_quiet_from_the_start(tmp_path: Path) -> None:
    """It comes while the command line itself is being imported."""
    interrupt = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    (tmp_path / "typer.py").write_text(interrupt)
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    done = subprocess.run([*COMMAND, "--help"], env=ENVIRONMENT | {"PYTHONPATH": path}, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_ctrl_c_is_quiet_within_a_verb() -> None:
    other = typer.Typer(cls=Verbs)

    @other.callback()
    def top() -> None:
        pass

    @other.command()
    def wait() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)

    done = invoke("wait", within=other)
    assert (done.exit_code, done.output) == (130, "")
