"""`speech transcribe` and `speech listen` with Whispers, from files and over a live microphone."""

from __future__ import annotations

import ctypes.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from speech.cli.main import app
from speech.hub.checkpoint import save
from tests.asr.whisper.toy import RATE, counted, counter, letter_tokenizer, spelt, tones
from tests.cli.conftest import COMMAND, ENVIRONMENT, ROOT
from tests.cli.test_listen import LIVE

LETTERS = counted(20)


def saved(folder: Path, causal: bool) -> Path:
    """The checkpoint folder of a Whisper that counts tones."""
    words = letter_tokenizer(folder).to_json().encode()
    return save(folder / "model", counter(causal), "# Counter\n", {"tokenizer.json": words}, dtype=None)


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("causal"), True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("plain"), False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "letters.wav"
    soundfile.write(path, tones([-1, *LETTERS, -1, -1]), RATE)
    return path


def run(*args: object) -> str:
    """What a command prints; it must succeed."""
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_causal_whisper(causal: Path, recording: Path) -> None:
    assert run("transcribe", recording, "--model", causal).split() == spelt(LETTERS).split()  # a line an utterance
    out = run("listen", "--input", recording, "--fast", "--json", "--model", causal, "--chunk", 200, "--language", "en")
    *events, timings = map(json.loads, out.splitlines())
    assert " ".join(event["text"] for event in events if event["type"] == "final") == spelt(LETTERS)
    assert timings["partials"] > 10
    assert "chunks:      200 ms" in run("models", "info", causal)


def test_a_whisper_that_was_not_trained_to_stream(plain: Path, recording: Path) -> None:
    done = CliRunner().invoke(app, ["listen", "--input", str(recording), "--fast", "--model", str(plain)])
    assert done.exit_code == 0 and done.stdout.split() == spelt(LETTERS).split()
    assert done.stderr.count("not trained for streaming") == 1
    options = ("--json", "--beam", 2, "--language", "auto")
    told = json.loads(run("transcribe", recording, "--model", plain, *options).splitlines()[0])
    assert told["duration"] == pytest.approx(23 * 0.32) and told["language"] == "en"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--chunk", "300"), "trained for (200 ms), got 300 ms"),
        (("--language", "xx"), "English"),
        (("--look-ahead", "80"), "got look_ahead: leave that out"),
    ],
)
def test_what_it_has_not_is_one_sentence(causal: Path, recording: Path, options: tuple[str, str], says: str) -> None:
    for verb in (["transcribe", str(recording)], ["listen", "--input", str(recording), "--fast"]):
        done = CliRunner().invoke(app, [*verb, "--model", str(causal), *options])
        assert done.exit_code == 1
        assert says in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_the_doctor(causal: Path) -> None:
    out = CliRunner().invoke(app, ["doctor", "--model", str(causal)]).stdout
    assert "chunks 200 ms" in out and "stream and whole signal agree" in out


def test_a_live_microphone(causal: Path, recording: Path, tmp_path: Path) -> None:
    tool = ROOT.parent / "shared" / "tools" / "virtual-microphone"
    missing = [name for name in ("pulseaudio", "pactl", "paplay") if shutil.which(name) is None]
    missing += [] if ctypes.util.find_library("portaudio") else ["libportaudio2"]
    if missing or not tool.exists():
        pytest.skip(f"needs {', '.join(missing) or 'the virtual microphone beside the repository'}")
    script = ["bash", "-c", LIVE, "bash", str(tmp_path), str(causal), str(recording), *COMMAND]
    done = subprocess.run([str(tool), *script], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    notes = (tmp_path / "notes").read_text()
    assert done.returncode == 0, done.stderr + notes
    *events, _ = map(json.loads, (tmp_path / "events").read_text().splitlines())
    said = " ".join(event["text"] for event in events if event["type"] == "final").split()
    assert "Traceback" not in notes
    assert len(said) >= len(LETTERS) // 2  # the sound of a busy machine has gaps
