"""`speech listen` at a virtual microphone, into which a recording is played."""

from __future__ import annotations

import ctypes.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, ENVIRONMENT, ROOT

SCRIPT = """
cd "$1"
"${@:4}" listen --json --model "$2" >events 2>notes & listener=$!
for _ in $(seq 300); do grep -q listening notes && break; kill -0 $listener || exit 3; sleep 0.2; done
paplay --device=virt "$3"
sleep 0.5
kill -INT $listener
wait $listener
"""


def heard(model: Path | str, recording: Path, folder: Path) -> list[dict[str, Any]]:
    """The events of a model that listens while a recording is played, the timings last. folder: for notes.

    It must end well at Ctrl-C, without a traceback. Skips the test where there is no virtual sound card.
    """
    tool = ROOT.parent / "shared" / "tools" / "virtual-microphone"
    missing = [name for name in ("pulseaudio", "pactl", "paplay") if shutil.which(name) is None]
    missing += [] if ctypes.util.find_library("portaudio") else ["libportaudio2"]
    if missing or not tool.exists():
        pytest.skip(f"needs {', '.join(missing) or 'the virtual microphone beside the repository'}")
    script = ["bash", "-c", SCRIPT, "bash", str(folder), str(model), str(recording), *COMMAND]
    done = subprocess.run([str(tool), *script], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    notes = (folder / "notes").read_text()
    assert done.returncode == 0, done.stderr + notes
    assert "Traceback" not in notes
    return [json.loads(line) for line in (folder / "events").read_text().splitlines()]


def words(events: list[dict[str, Any]]) -> list[str]:
    """The words of all utterances that ended."""
    return [word for event in events if event["type"] == "final" for word in event["text"].split()]
