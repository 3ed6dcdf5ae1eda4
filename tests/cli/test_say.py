"""`speech say` from the outside: files, pipes, a terminal, Ctrl-C, a loudspeaker through PortAudio, and bad text."""

from __future__ import annotations

import ctypes.util
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from speech.audio.file import read
from speech.cli.main import app
from speech.content.campplus import CAMPPlusConfig
from speech.content.s3 import S3Config
from speech.errors import SpeechError
from speech.hub.checkpoint import save
from speech.tts.model import SynthesiserModel
from speech.tts.synthesiser import Synthesiser
from tests.cli.conftest import COMMAND, ENVIRONMENT, ROOT
from tests.sounds import music, said
from tests.tts.small import RATE, small_synthesiser

TEXT = "Good morning, everyone. It is 5 o'clock here."
GREETING = "\u043f\u0440\u0438\u0432\u0435\u0442"  # letters that the voice does not know
ENDLESS = "and so on and on it goes, " * 4000
PLAYED = """
cd "$1"
parec --device=spk.monitor --rate=4000 --channels=1 --format=s16le --latency-msec=50 >heard.raw & recorder=$!
longer() { for _ in {1..100}; do (($(stat -c %s heard.raw) > $1)) && return; sleep 0.1; done; exit 4; }
longer 0
"${@:4}" say "$3" --model "$2" --seed 3 --json >events || exit 3
longer $(($(stat -c %s heard.raw) + 8000))
kill $recorder
"""
"""Records from before the first sound until a second after the last, by the recorder's own clock."""


def say(talker: Path, *args: object, stdin: bytes | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, ["say", *map(str, args), "--model", str(talker)], input=stdin)


@contextmanager
def start(talker: Path, folder: Path, *args: object, stdin: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command line in a process of its own, with pipes, for two minutes at the most."""
    command = [*COMMAND, "say", *map(str, args), "--model", str(talker)]
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdin=stdin, stdout=-1, stderr=-1) as process:
        alarm = threading.Timer(120, process.kill)
        alarm.start()
        try:
            yield process
        finally:
            alarm.cancel()


def spoken(output: str) -> tuple[list[dict], dict]:
    """The chunks and the timings that --json printed."""
    *chunks, timings = map(json.loads, output.splitlines())
    assert {chunk["type"] for chunk in chunks} == {"chunk"} and timings["type"] == "timings"
    return chunks, timings


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_file_holds_what_is_said(talker: Path, synthesiser: Synthesiser, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"said.{ending}"
    done = say(talker, *TEXT.split(), "--out", path, "--seed", 3, "--voice", "prompted", "--speed", 1.25)
    assert done.exit_code == 0, done.stderr
    expected = synthesiser.synthesize(TEXT, "prompted", seed=3, speed=1.25)
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, expected.samples.clip(-1, 1), atol=2 / 32768)
    last = done.stderr.splitlines()[-1]
    assert f"{expected.seconds:.1f} s of speech, first sound after" in last and "real-time factor" in last
    assert done.stdout == ""


def test_json_tells_chunks_words_and_stages(talker: Path, synthesiser: Synthesiser, tmp_path: Path) -> None:
    done = say(talker, TEXT, "--out", tmp_path / "a.wav", "--seed", 3, "--json")
    chunks, timings = spoken(done.stdout)
    expected = synthesiser.synthesize(TEXT, seed=3)
    assert [word for chunk in chunks for word in chunk["words"]] == [word.to_dict() for word in expected.words]
    assert len(chunks) > 2 and chunks[0]["start"] == 0
    for before, after in pairwise(chunks):
        assert after["start"] == pytest.approx(before["start"] + before["duration"], abs=0.002)
    assert timings["audio"] == pytest.approx(expected.seconds, abs=0.001)
    assert list(timings["stages"]) == ["text", "lm", "flow", "vocoder"] and min(timings["stages"].values()) > 0
    assert timings["first_sound_ms"] > 0 and timings["real_time_factor"] > 0 and timings["codes"] > 5
    assert "s of speech" not in done.stderr


def test_a_text_file_and_a_pipe_say_the_same(talker: Path, synthesiser: Synthesiser, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    expected = synthesiser.synthesize(TEXT, seed=3).samples
    for args, stdin in (
        (["--file", tmp_path / "text.txt"], None),
        (["-"], TEXT.encode()),
        (["-f", "-"], TEXT.encode()),
    ):
        done = say(talker, *args, "--out", tmp_path / "said.wav", "--seed", 3, stdin=stdin)
        assert done.exit_code == 0, done.stderr
        np.testing.assert_allclose(read(tmp_path / "said.wav").samples, expected.clip(-1, 1), atol=2 / 32768)


def test_piped_text_is_spoken_while_it_comes(talker: Path, tmp_path: Path) -> None:
    with start(talker, tmp_path, "-", "--out", "said.wav", "--seed", 0, "--json") as process:
        assert process.stdin and process.stdout
        for byte in TEXT.encode():  # one at a time
            process.stdin.write(bytes([byte]))
            process.stdin.flush()
        first = json.loads(process.stdout.readline())  # the text goes on: its end is not needed
        assert first["start"] == 0 and process.poll() is None
        process.stdin.write(" Quite a f\u00e4\u00e7ade!".encode())
        process.stdin.close()
        chunks, timings = spoken(first and json.dumps(first) + "\n" + process.stdout.read().decode())
        assert process.wait(120) == 0
    words = [word["text"] for chunk in chunks for word in chunk["words"]]
    assert words[:3] == ["Good", "morning", "everyone"] and words[-3:-1] == ["Quite", "a"]
    assert read(tmp_path / "said.wav").seconds == pytest.approx(timings["audio"], abs=0.001)


def test_standard_output_takes_wav(talker: Path, synthesiser: Synthesiser) -> None:
    done = say(talker, TEXT, "--out", "-", "--seed", 3)
    assert done.exit_code == 0
    samples, rate = soundfile.read(io.BytesIO(done.stdout_bytes), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, synthesiser.synthesize(TEXT, seed=3).samples.clip(-1, 1), atol=2 / 32768)


def test_a_closed_pipe_ends_quietly(talker: Path, tmp_path: Path) -> None:
    with start(talker, tmp_path, ENDLESS, "--out", "-", "--seed", 0) as process:
        assert process.stdout and process.stderr
        process.stdout.read(1000)
        process.stdout.close()
        assert process.wait(120) == 1
        assert "Traceback" not in (notes := process.stderr.read().decode()) and "unexpected" not in notes


@pytest.mark.parametrize(
    ("number", "ending", "text"),
    [(signal.SIGINT, "wav", ENDLESS), (signal.SIGINT, "ogg", "-"), (signal.SIGTERM, "flac", "-")],
)
def test_an_interrupt_leaves_a_whole_file(
    talker: Path, tmp_path: Path, number: signal.Signals, ending: str, text: str
) -> None:
    """Hours of text, of which a little has been said; or a pipe whose text has been said and that brings no more."""
    with start(talker, tmp_path, text, "--out", f"said.{ending}", "--seed", 0, "--json") as process:
        assert process.stdin and process.stdout and process.stderr
        if text == "-":
            process.stdin.write(b"Some words that are said. And some more that follow. ")
            process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(number)
        assert process.wait(120) == 130
        chunks, timings = spoken((first + process.stdout.read()).decode())
        assert process.stderr.read() == b"speech: stopped\n"
    samples, rate = soundfile.read(tmp_path / f"said.{ending}")
    assert chunks[0]["duration"] <= len(samples) / rate <= timings["audio"] + 0.1


def test_lines_of_a_terminal_are_spoken_one_by_one(talker: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with start(talker, tmp_path, "-", "--out", "said.wav", "--seed", 0, "--json", stdin=theirs) as process:
        assert process.stdout and process.stderr
        os.write(ours, b"first line\n")
        first = json.loads(process.stdout.readline())  # without a full stop, and nothing after it
        assert first["type"] == "chunk"
        os.write(ours, f"{GREETING}\n\nlast line\n".encode())
        os.write(ours, b"\x04")
        out, notes = process.communicate(timeout=120)
        assert process.returncode == 0
    os.close(ours)
    os.close(theirs)
    chunks = [first, *spoken(out.decode())[0]]
    words = [word for chunk in chunks for word in chunk["words"]]
    assert [word["text"] for word in words] == ["first", "line", "last", "line"]
    starts = [word["start"] for word in words]
    assert starts == sorted(starts)
    assert "every line is spoken" in notes.decode() and "this voice can say, got" in notes.decode()


def test_a_line_of_which_the_model_says_nothing_is_told(talker: Path, synthesiser: Synthesiser, tmp_path: Path) -> None:
    seed = next(seed for seed in range(200) if not says_something(synthesiser, "Oh", seed))
    ours, theirs = pty.openpty()
    with start(talker, tmp_path, "-", "--out", "said.wav", "--seed", seed, "--json", stdin=theirs) as process:
        os.write(ours, b"Oh\nlast line of all\n\x04")
        out, notes = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0 and "expected the model to speak, it ended at once" in notes.decode()
    assert [word["text"] for chunk in spoken(out.decode())[0] for word in chunk["words"]][-1] == "all"


def says_something(synthesiser: Synthesiser, text: str, seed: int) -> bool:
    """Whether the model gives any code for a text."""
    try:
        return bool(synthesiser.synthesize(text, seed=seed).seconds)
    except SpeechError:
        return False


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected text with words that this voice can say, got none"),
        ("?! ... --", "expected text with words that this voice can say, got none"),
        ("\x07\x00\x01", "expected text with words that this voice can say, got none"),
        ("\U0001f642\U0001f642", "expected text with words that this voice can say, got none"),
        (
            "\u043f\u0440\u0438\u0432\u0435\u0442",
            "expected text with words that this voice can say, got \u043f\u0440\u0438\u0432\u0435\u0442 only",
        ),
    ],
)
def test_nothing_to_say_is_one_sentence(talker: Path, tmp_path: Path, text: str, sentence: str) -> None:
    done = say(talker, "-", "--out", tmp_path / "said.wav", stdin=text.encode())
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("speech: " + sentence) and done.stderr.count("\n") == 1
    assert not (tmp_path / "said.wav").exists()


def test_odd_text_is_said_with_warnings(talker: Path, tmp_path: Path) -> None:
    text = f"Hello \U0001f642 {GREETING}\x07 <prosody rate='fast'>to <b>you"
    done = say(talker, text, "--out", tmp_path / "said.wav", "--seed", 0)
    assert done.exit_code == 0 and read(tmp_path / "said.wav").seconds > 0.2
    assert "they are left out" in done.stderr and "prosody" in done.stderr
    plain = say(talker, text, "--out", tmp_path / "plain.wav", "--no-markup", "--seed", 0)
    assert plain.exit_code == 0 and "prosody" not in plain.stderr
    assert read(tmp_path / "plain.wav").seconds > read(tmp_path / "said.wav").seconds


def test_the_normaliser_is_chosen(talker: Path, synthesiser: Synthesiser, tmp_path: Path) -> None:
    refused = say(talker, "Hello.", "--out", tmp_path / "a.wav", "--normaliser", "nemo")
    assert refused.exit_code == 1
    assert "expected rules, grammar or a function as normaliser, got 'nemo'" in refused.stderr
    pytest.importorskip("wetext", reason="the grammar extra is not installed")
    assert not say(talker, "It is No 5.", "--out", tmp_path / "a.wav", "--normaliser", "grammar", "--seed", 0).exit_code
    expected = synthesiser.synthesize("It is Number five.", seed=0).samples
    np.testing.assert_allclose(read(tmp_path / "a.wav").samples, expected.clip(-1, 1), atol=2 / 32768)


def test_other_bytes_than_text_are_told_after_what_came_before(talker: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"A caf\xc3\xa9 here. Another caf\xe9 there.")
    done = say(talker, "--file", tmp_path / "latin.txt", "--out", tmp_path / "said.wav")
    assert done.exit_code == 1
    assert "latin.txt', got other bytes at 25" in done.stderr.splitlines()[-1]
    assert read(tmp_path / "said.wav").seconds > 0.2


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--voice", "nobody"], "expected a voice of the model (plain, prompted) or a recording of one, got 'nobody'"),
        (["--voice", "short.wav"], "takes voices up from recordings, this one has none of that"),
        (["--speed", "9"], "expected a speed of 0.25 to 4.0"),
        (["--out", "said.aac"], "expected a file name that ends in .wav, .flac"),
        (["--out", "no/such/folder/said.wav"], "expected to write 'no/such/folder/said.wav'"),
        (["--device", "toaster"], "expected a device of"),
        (["--model", "no-such-model"], "expected a model name"),
    ],
)
def test_a_wrong_choice_is_one_sentence(
    talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("short.wav", np.zeros(1600), 16000)
    usual = ["--model", str(talker), "--out", "said.wav"]
    done = CliRunner().invoke(app, ["say", TEXT, *usual, *args])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("speech: ") and sentence in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "said.wav").exists()


@pytest.fixture(scope="module")
def imitator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder of a synthesiser that takes voices up, and has none."""
    small = small_synthesiser()
    parts = {"tokenizer": S3Config(dim=64, layers=1, heads=1, levels=(3, 3, 3)), "speaker": CAMPPlusConfig(dim=6)}
    model = SynthesiserModel(replace(small.model.config, **parts)).eval()
    model.load_state_dict(small.model.state_dict(), strict=False)
    return save(tmp_path_factory.mktemp("model") / "imitator", model, "# imitator\n", {}, dtype=None)


def test_a_recording_lends_its_voice(imitator: Path, tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(32000)
    told = {"short": "at least 0.5 s, got 0.10 s", "silent": "got silence", "long": "at most 30 s, got 40.0 s"}
    told["noisy"] = "nobody seems to speak"
    bad = {"short": noise[:1600], "silent": 0 * noise, "long": np.tile(noise, 20), "noisy": noise}
    for name, samples in bad.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000)
        done = say(imitator, TEXT, "--voice", tmp_path / f"{name}.wav", "--out", tmp_path / "said.wav")
        assert done.exit_code == 1 and told[name] in done.stderr and done.stderr.count("\n") == 1, done.stderr
    done = say(imitator, TEXT, "--out", tmp_path / "said.wav")
    assert done.exit_code == 1 and "expected a voice" in done.stderr
    soundfile.write(tmp_path / "tune.wav", music(0.7), 16000)
    done = say(imitator, TEXT, "--voice", tmp_path / "tune.wav", "--out", tmp_path / "said.wav")
    assert done.stderr.startswith(f"speech: in {tmp_path}/tune.wav too little sounds to tell"), done.stderr
    soundfile.write(tmp_path / "good.flac", said(2.0), 16000)
    args = ["--voice", tmp_path / "good.flac", "--voice-text", "What is said.", "--out", tmp_path / "said.wav"]
    done = say(imitator, TEXT, *args, "--seed", 1)
    assert done.exit_code == 0, done.stderr
    assert read(tmp_path / "said.wav").seconds > 0.2


def test_a_recogniser_does_not_speak(tiny: Path) -> None:
    done = say(tiny, TEXT, "--out", "said.wav")
    assert done.exit_code == 1 and "expected a synthesiser" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["a", "--file", "b"],
        ["a", "--out", "-", "--json"],
        ["a", "--out", "b.wav", "--speaker", "0"],
        ["a", "--seed", "x"],
        ["a", "--voice-text", "of no recording"],
    ],
)
def test_wrong_usage_ends_with_2(args: list[str]) -> None:
    done = CliRunner().invoke(app, ["say", *args])
    assert done.exit_code == 2 and "Usage" in done.stderr


def test_a_text_file_that_is_not_there(talker: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        done = say(talker, "--file", path, "--out", tmp_path / "said.wav")
        assert done.exit_code == 1 and "expected a text file" in done.stderr


def test_a_loudspeaker_plays_it(talker: Path, synthesiser: Synthesiser, tmp_path: Path) -> None:
    tool = ROOT.parent / "shared" / "tools" / "virtual-microphone"
    missing = [name for name in ("pulseaudio", "pactl", "parec") if shutil.which(name) is None]
    missing += [] if ctypes.util.find_library("portaudio") else ["libportaudio2"]
    if missing or not tool.exists():
        pytest.skip(f"needs {', '.join(missing) or 'the virtual microphone beside the repository'}")
    script = ["bash", "-c", PLAYED, "bash", str(tmp_path), str(talker), TEXT, *COMMAND]
    done = subprocess.run([str(tool), *script], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    heard = np.fromfile(tmp_path / "heard.raw", "<i2") / 32768
    played = synthesiser.synthesize(TEXT, seed=3).samples.clip(-1, 1)
    size = 1 << (len(heard) + len(played)).bit_length()
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(played, size).conj(), size)[: len(heard)]
    part = heard[(at := int(match.argmax())) : at + len(played)]
    assert match[at] / (np.linalg.norm(part) * np.linalg.norm(played)) > 0.9


def test_without_a_loudspeaker_a_file_is_offered(talker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = say(talker, TEXT)
    assert (done.exit_code, done.stdout) == (1, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith("speech: live sound needs the Python package sounddevice")
    assert done.stderr.endswith("; or let `--out FILE` write the sound to a file\n")
