"""Live sound over a virtual sound card, through PortAudio; and what is said where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000


def run(code: str, *wrapper: str, **environment: str) -> str:
    """What a program prints that is run by the command `wrapper`."""
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.stdout + done.stderr


@pytest.fixture
def virtual(shared: Path) -> str:
    """The command that runs a program beside a virtual sound card."""
    if missing := [tool for tool in ("pulseaudio", "pactl", "paplay", "parec") if not shutil.which(tool)]:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install pulseaudio pulseaudio-utils")
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))  # type: ignore[arg-type]
    return str(shared / "tools/virtual-microphone")


def chirp(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 + 1500 * t / seconds) * t)).astype(np.float32)


def likeness(heard: np.ndarray, played: np.ndarray) -> float:
    """The highest normalised correlation of `played` with a stretch of `heard`."""
    size = 1 << (len(heard) + len(played)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(played, size).conj(), size)[: len(heard)]
    at = int(product.argmax())
    part = heard[at : at + len(played)]
    return float(product[at] / (np.linalg.norm(part) * np.linalg.norm(played) + 1e-9))


LISTEN = """
import subprocess, sys, threading, numpy as np
from speech.audio.device import Microphone, devices
assert any(d.name == "pulse" and d.inputs and d.sample_rate for d in devices()), devices()
assert sum(d.default_input for d in devices()) == 1
with Microphone(sample_rate={rate}, block_ms=20) as microphone:
    def play():
        subprocess.run(["paplay", "--device=virt", "{played}"], check=True)
        threading.Event().wait(0.3)
        microphone.stop()
    threading.Thread(target=play).start()
    blocks = list(microphone)
assert microphone.backlog == 0 and {{b.dtype.name for b in blocks}} == {{"float32"}}
print(microphone.sample_rate, microphone.overflows, len(blocks))
np.save("{heard}", np.concatenate(blocks))
"""


@pytest.mark.parametrize("rate", [RATE, None])
def test_the_microphone_hears_what_is_played(virtual: str, tmp_path: Path, rate: int | None) -> None:
    played, heard = tmp_path / "played.wav", tmp_path / "heard.npy"
    soundfile.write(played, chirp(1.0), RATE)
    said = run(LISTEN.format(rate=rate, played=played, heard=heard), virtual)
    assert heard.exists(), said
    used, overflows, blocks = map(int, said.split())
    assert overflows == 0
    assert blocks > 40
    if rate is not None:
        assert used == rate
    x = np.load(heard)
    x = x if used == RATE else np.interp(np.arange(0, len(x), used / RATE), np.arange(len(x)), x)
    assert likeness(x, chirp(1.0)) > 0.9


SPEAK = """
import subprocess, time, numpy as np
from speech.audio.device import Speaker
form = ["--rate=16000", "--channels=1", "--format=float32le", "--raw"]
record = subprocess.Popen(["parec", "--device=spk.monitor", "--latency-msec=20", *form], stdout=open("{heard}", "wb"))
time.sleep(0.4)
x = np.load("{played}")
with Speaker(16000) as speaker:
    for i in range(0, len(x), 700):
        speaker.write(x[i : i + 700])
        if i == 7000:
            time.sleep(0.1)  # the processor has other things to do
time.sleep(0.4)
record.terminate(); record.wait()
print("done", speaker.underflows)
"""


def test_the_speaker_plays_to_the_last_sample(virtual: str, tmp_path: Path) -> None:
    played, heard = tmp_path / "played.npy", tmp_path / "heard.raw"
    np.save(played, chirp(1.0))
    said = run(SPEAK.format(played=played, heard=heard), virtual)
    assert said.startswith("done"), said
    x = np.fromfile(heard, "<f4")
    assert likeness(x, chirp(1.0)) > 0.9
    assert likeness(x, chirp(1.0)[-1600:]) > 0.9


UNKNOWN = """
from speech.audio.device import Microphone
for wanted in ("no such thing", 99, "u"):
    try: Microphone(wanted)
    except ValueError as error: print(error)
"""


def test_an_unknown_device_is_answered_with_the_known_ones(virtual: str) -> None:
    said = run(UNKNOWN, virtual).splitlines()
    assert len(said) == 3
    assert all("'pulse'" in line and "'default'" in line for line in said)
    assert "'no such thing', which fits none of" in said[0]
    assert "'99', which fits none of" in said[1]
    assert "'u', which fits several of" in said[2]


OPEN = """
from speech.audio.device import *
try: Microphone()
except ValueError as error: print(type(error).__name__, error)
"""


def test_no_sound_card(tmp_path: Path) -> None:
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))  # type: ignore[arg-type]
    if not run("import sounddevice; print(list(sounddevice.query_devices()))").startswith("[]"):
        pytest.skip("this machine has a sound card")
    said = run(OPEN)
    assert said.startswith("SpeechError expected a sound card with an input, found none: plug one in")
    assert run("from speech.audio.device import *; print(devices())") == "[]\n"


def test_a_missing_library_or_package_is_said() -> None:
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))  # type: ignore[arg-type]
    no_library = "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
    assert "apt-get install libportaudio2" in run(no_library + OPEN)
    no_package = "import sys; sys.modules['sounddevice'] = None\n"
    assert "pip install 'streaming-speech[live]'" in run(no_package + OPEN)
