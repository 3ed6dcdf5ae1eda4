"""`speech convert --live` from the outside: over a virtual sound card, from a file, with keys, and what it refuses."""

from __future__ import annotations

import ctypes.util
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.vc_delay import chirp, echoes, measure
from benchmarks.virtual_card import RATE, TOOLS, Card, virtual_card
from speech.hub.checkpoint import save
from speech.vc.voice import pack_targets
from tests.cli.conftest import COMMAND, ENVIRONMENT, Run
from tests.vc.small import small_converter


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder of a converter: random weights, the targets `anna` and `ben`."""
    small = small_converter()
    files = {"targets.safetensors": pack_targets(small._voices)}
    return save(tmp_path_factory.mktemp("model") / "tiny", small.model, "# tiny\n\nRandom weights.\n", files)


@pytest.fixture
def sound() -> None:
    """A machine on which a virtual sound card runs."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    missing += [] if ctypes.util.find_library("portaudio") else ["libportaudio2"]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))  # type: ignore[arg-type]


@pytest.fixture(params=["own", "shared"])
def card(request: pytest.FixtureRequest, sound: None) -> Iterator[Card]:
    """The benchmark's card, and the shared one, whose time stamps are early by up to a block of its microphone."""
    if request.param == "own":
        with virtual_card() as own:
            yield own
        return
    tool = request.getfixturevalue("shared") / "tools" / "virtual-microphone"
    words = [str(tool), "sh", "-c", "echo $XDG_RUNTIME_DIR; exec cat"]
    with subprocess.Popen(words, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout and server.stdin
        folder = server.stdout.readline().strip()
        borrowed = Card(f"{folder}/pulse/native", folder, "virt")
        borrowed.soften()
        yield borrowed
        server.stdin.close()


def test_the_delay_that_is_heard_is_the_stated_one(card: Card, converter: Path) -> None:
    found = measure(["--model", str(converter), "--to", "anna", "--budget", "300"], 6.0, card)
    assert found.played == 3
    if not len(found.delays):
        pytest.skip("this machine is too busy to play a chirp without gaps")
    assert np.abs(found.delays - found.stated).max() < 0.01
    assert abs(found.status["delay_median_ms"] / 1e3 - found.stated) < 0.005


@pytest.mark.usefixtures("sound")
def test_a_card_that_is_unplugged_for_a_while(converter: Path) -> None:
    words = [*COMMAND, "convert", "--live", "--json", "--gate", "0", "--budget", "300", "--model", str(converter)]
    with virtual_card() as card:
        command = card.command(*words, "--to", "anna")
        with subprocess.Popen(
            command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=-1, stderr=subprocess.STDOUT, text=True
        ) as program:
            watchdog = threading.Timer(90, program.kill)
            watchdog.start()

            def told(words: str) -> bool:
                assert program.stdout
                return any(words in line for line in program.stdout)

            assert told('"status"')
            card.unplug()
            assert told("plug it in again, conversion goes on by itself")
            card.plug()
            assert told("sound is back")
            assert told('"status"')
            program.send_signal(signal.SIGINT)
            assert told("stopped") and program.wait() == 0
            watchdog.cancel()


@pytest.mark.usefixtures("sound")
def test_a_file_to_the_speaker_with_keys(converter: Path, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "said.wav", np.tile(np.pad(chirp(), (0, 3200)), 60), RATE)
    words = ["convert", "--live", "--input", str(tmp_path / "said.wav"), "--model", str(converter), "--to", "anna"]
    terminal, inside = pty.openpty()
    with virtual_card() as beside:
        command = beside.command(*COMMAND, *words, "--targets", "ben", "--json", "--budget", "100")
        with subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, stdin=inside, stdout=-1, stderr=-1, text=True
        ) as program:
            assert program.stdout and program.stderr
            seen = [json.loads(program.stdout.readline())]
            for key in "tpmq":
                seen.append(json.loads(program.stdout.readline()))
                os.write(terminal, key.encode())
            seen += [json.loads(line) for line in program.stdout]
            notes = program.stderr.read()
            assert program.wait(60) == 0, notes
    delay, *status = seen
    assert "Traceback" not in notes and "keys: p your own voice" in notes
    assert delay["total_ms"] == pytest.approx(sum(delay["parts_ms"].values()), abs=0.1)
    told = {(s["target"], s["mode"]) for s in status}
    assert {("anna", "converted"), ("ben", "converted"), ("ben", "pass-through"), ("ben", "muted")} <= told
    assert not select.select([terminal], [], [], 0)[0]  # nothing that was typed is shown


def test_echoes_are_found_to_the_sample() -> None:
    heard = np.zeros(9 * RATE, np.float32)
    for k, delay in enumerate((4000, 4003, 12000)):
        start = 1000 + k * 2 * RATE
        heard[start : start + 800] += chirp()
        heard[start + delay : start + delay + 800] += 0.22 * chirp()
    assert (echoes(heard) * RATE).round().tolist() == [4000, 4003, 12000]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--live", "--to", "anna", "in.wav"], "name no files"),
        (["--to", "anna"], "expected recordings and --out DIR, or --live"),
        (["--live", "--to", "anna", "--budget", "0"], "expected --budget above 0, got 0"),
    ],
)
def test_options_that_do_not_fit(cli: Run, words: list[str], said: str) -> None:
    done = cli("convert", *words)
    assert done.returncode
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_no_sound_card(converter: Path, cli: Run) -> None:
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))  # type: ignore[arg-type]
    import sounddevice

    if len(sounddevice.query_devices()):
        pytest.skip("this machine has a sound card")
    begin = time.monotonic()
    done = cli("convert", "--live", "--to", "anna", "--model", converter)
    assert done.returncode == 1 and time.monotonic() - begin < 110
    assert "expected a sound card with an input, found none" in done.stderr
