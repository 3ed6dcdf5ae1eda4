"""`speech transcribe` and `speech listen` with Whispers, from files and over a live microphone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from typer.testing import CliRunner

from benchmarks.whisper_silence import spelling_numbers
from speech.asr.whisper.config import Context, WhisperConfig
from speech.audio.mel import WHISPER, WHISPER_STREAMING
from speech.cli.main import app
from speech.hub.checkpoint import save
from speech.hub.load import load
from tests.asr.whisper.small import SYMBOLS, small
from tests.asr.whisper.toy import RATE, counted, counter, letter_tokenizer, spelt, tones
from tests.cli.microphone import heard, words

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


def test_a_prompt(random: Path, recording: Path) -> None:
    """Random weights say something else after other text; the command line, as the API does."""
    told = "17 2048 333 5 4999 61"
    said = {prompt: load(random, prompt=prompt).transcribe(recording).text for prompt in (None, told)}
    assert len(set(said.values())) == 2
    for prompt, text in said.items():
        chosen = [] if prompt is None else ["--prompt", prompt]
        assert (
            json.loads(run("transcribe", recording, "--json", "--model", random, *chosen).splitlines()[0])["text"]
            == text
        )
    for line in ("transcribe", "listen"):
        assert "--prompt" in run(line, "--help")


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


def test_a_language_that_there_is_not(random: Path, recording: Path) -> None:
    done = CliRunner().invoke(app, ["transcribe", str(recording), "--model", str(random), "--language", "xx"])
    assert done.exit_code == 1 and "got 'xx': choose one of en, zh" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"state_dict": {"encoder.conv1.weight": torch.zeros(4, 80, 3)}}, "expected {} to hold `dims`"),
        ({"dims": {"n_mels": 80}, "model_state_dict": {"conv.weight": torch.zeros(4)}}, "encoder.conv1.weight"),
    ],
)
def test_weights_of_something_else(recording: Path, tmp_path: Path, tree: dict, says: str) -> None:
    torch.save(tree, tmp_path / "other.pt")
    done = CliRunner().invoke(app, ["transcribe", str(recording), "--model", str(tmp_path / "other.pt")])
    assert done.exit_code == 1 and says.format(tmp_path / "other.pt") in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_doctor(causal: Path) -> None:
    out = CliRunner().invoke(app, ["doctor", "--model", str(causal)]).stdout
    assert "chunks 200 ms" in out and "stream and whole signal agree" in out


@pytest.fixture(scope="module", params=["causal", "plain"])
def random(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder of a Whisper with random weights, multilingual; every id spells its number."""
    causal, tokenizer = request.param == "causal", spelling_numbers(SYMBOLS.vocabulary).to_json().encode()
    mel, contexts = (WHISPER_STREAMING, (Context.causal(15, 30),)) if causal else (WHISPER, (Context.windows(),))
    model = small(WhisperConfig(mel, 16, 1, 2, 2, 2, contexts=contexts))
    folder = tmp_path_factory.mktemp("random") / "model"
    return save(folder, model, "# Random\n", {"tokenizer.json": tokenizer}, dtype=None)


def test_random_weights_say_something(random: Path, recording: Path, tmp_path: Path) -> None:
    """From a file, and live."""
    assert run("transcribe", recording, "--model", random, "--language", "en").split()
    *events, timings = heard(random, recording, tmp_path)
    assert words(events) and timings["partials"] and timings["audio"] >= soundfile.info(recording).duration


def test_a_live_microphone(causal: Path, recording: Path, tmp_path: Path) -> None:
    said = words(heard(causal, recording, tmp_path))
    assert len(said) >= len(LETTERS) // 2  # the sound of a busy machine has gaps
