"""The README's code blocks run: every Python block, and every command but those that install, train or listen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SET_UP = ("git ", "cd ", "pip ", "apt-get ", "sudo ")
LONG = re.compile(
    r"speech (train|bench|models (?:pull|import)|listen(?!.*--input)|say(?!.*--out)|convert(?=.*--live))\b"
)
"""Commands that need hours, a network, a microphone or a file of one's own: these are asked for their help only."""


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    text = README.read_text() if README.exists() else ""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The commands of all bash blocks, comments left out."""
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"\s+#.*|^#.*", "", line).strip() for line in lines) if line]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README speaks of, and `speech` on the path.

    Recordings `meeting.wav` and `friend.wav`, `demo/`, lines to say, and `my-voice` and `my-converter`, a small
    synthesiser and a small converter with random weights.
    """
    import soundfile

    from speech.hub.checkpoint import save
    from speech.tts.voice import pack_voices
    from tests.tts.small import small_synthesiser
    from tests.vc.small import small_model

    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "demo", folder / "demo")
    samples, rate = soundfile.read(ROOT / "demo" / "demo.flac", dtype="int16")
    soundfile.write(folder / "meeting.wav", samples, rate)
    soundfile.write(folder / "friend.wav", samples[: 5 * rate], rate)
    small = small_synthesiser()
    voices = {"voices.safetensors": pack_voices({name: small._voices[name] for name in small.voices})}
    save(folder / "my-voice", small.model, "# Random weights\n", voices, dtype=None)
    save(folder / "my-converter", small_model(), "# Random weights\n", {}, dtype=None)
    (folder / "lines.jsonl").write_text('{"id": "one", "text": "One line."}\n{"id": "two", "text": "And two."}\n')
    (folder / "bin").mkdir()
    speech = folder / "bin" / "speech"
    speech.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m speech.cli "$@"\n')
    speech.chmod(0o755)
    return folder


def run(argv: list[str], folder: Path) -> None:
    """Run a command in `folder`; it must succeed."""
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    path["OMP_NUM_THREADS"] = "1"  # threads that wait for each other on busy cores take minutes
    done = subprocess.run(argv, cwd=folder, env=os.environ | path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{argv[-1]}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("command", commands())
def test_command(command: str, desk: Path) -> None:
    if command.startswith(SET_UP):
        pytest.skip("sets a machine up")
    if command.startswith("make "):
        run(["make", "--dry-run", "--directory", str(ROOT), *command.split()[1:]], desk)
    elif long := LONG.search(command):
        run(["bash", "-c", f"{long.group()} --help"], desk)
    else:
        run(["bash", "-euo", "pipefail", "-c", command], desk)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_block(code: str, desk: Path) -> None:
    run([sys.executable, "-c", code], desk)
