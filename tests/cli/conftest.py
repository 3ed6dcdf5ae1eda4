"""Tiny models in folders, recordings, and the command line as users run it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import soundfile

import speech
from speech.hub.checkpoint import save, tokenizer_named
from speech.hub.load import load_synthesiser
from speech.tts.synthesiser import Synthesiser
from speech.tts.voice import pack_voices
from tests.asr.small import PIECES, noise, small_model
from tests.tts.small import small_synthesiser

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "speech.cli"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder: random weights, look-aheads 160, 80 and 0 ms, both heads."""
    folder = tmp_path_factory.mktemp("model")
    pieces = io.BytesIO()
    text = ["the cat sat on the mat and the rat ran", "a red hat hid in the den", "ten men met at the tent"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text * 5), model_writer=pieces, vocab_size=PIECES, model_type="bpe", minloglevel=2
    )
    (folder / "tokenizer.model").write_bytes(pieces.getvalue())
    return save(
        folder / "tiny",
        small_model(),
        "# tiny\n\nRandom weights for tests.\n",
        tokenizer_named(folder / "tokenizer.model"),
    )


@pytest.fixture(scope="session")
def recogniser(tiny: Path) -> speech.Recogniser:
    """The tiny model in this process, to compare with."""
    return speech.load(tiny, device="cpu")


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder of a synthesiser: random weights, the voices `plain` and `prompted`, 4 kHz."""
    small = small_synthesiser()
    voices = {name: small._voices[name] for name in small.voices}
    folder = tmp_path_factory.mktemp("model") / "talker"
    card = "# talker\n\nRandom weights for tests.\n"
    return save(folder, small.model, card, {"voices.safetensors": pack_voices(voices)}, dtype=None)


@pytest.fixture(scope="session")
def synthesiser(talker: Path) -> Synthesiser:
    """The tiny synthesiser in this process, to compare with."""
    return load_synthesiser(talker, "cpu")


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.5 seconds of noise, 16 kHz mono."""
    path = tmp_path_factory.mktemp("recording") / "noise.wav"
    soundfile.write(path, noise(1.5), 16000)
    return path


@pytest.fixture
def cli(tmp_path: Path) -> Run:
    """Runs `speech ARGS`; whatever happens, a user sees no traceback."""

    def run(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *map(str, args)], cwd=tmp_path, env=ENVIRONMENT, input=stdin, capture_output=True, timeout=120
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in out + err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    return run


def silence(seconds: float, channels: int = 1, rate: int = 16000) -> np.ndarray:
    """Digital silence, [n] or [n, channels] float32."""
    shape = (round(seconds * rate),) if channels == 1 else (round(seconds * rate), channels)
    return np.zeros(shape, np.float32)
