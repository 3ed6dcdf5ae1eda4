"""Models that count, and their vocabulary."""

from __future__ import annotations

import pytest

from speech.asr.whisper.model import Whisper
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.tokenizer import WhisperTokenizer
from tests.asr.whisper.small import SYMBOLS, babbling
from tests.asr.whisper.test_whisper_tokenizer import tiktoken, vocabulary
from tests.asr.whisper.toy import counter, letter_tokenizer


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> WhisperTokenizer:
    return letter_tokenizer(tmp_path_factory.mktemp("letters"))


@pytest.fixture(scope="session")
def causal_counter() -> Whisper:
    """Counts tones in chunks of 200 ms."""
    return counter(causal=True)


@pytest.fixture(scope="session")
def window_counter() -> Whisper:
    """Counts tones in windows of 4 s."""
    return counter(causal=False)


@pytest.fixture(scope="session")
def syllables(tmp_path_factory: pytest.TempPathFactory) -> WhisperTokenizer:
    """Of a multilingual model."""
    folder = tmp_path_factory.mktemp("syllables")
    tiktoken(folder / "multilingual.tiktoken", vocabulary(50257))
    return WhisperTokenizer.load(folder, SYMBOLS)


@pytest.fixture(scope="session")
def babbler(syllables: WhisperTokenizer) -> WhisperRecogniser:
    """Chunks of 80 and 40 ms."""
    return babbling(syllables, causal=True, positions=40)


@pytest.fixture(scope="session")
def babbling_windows(syllables: WhisperTokenizer) -> WhisperRecogniser:
    """Windows of 4 s, a look every 300 ms."""
    return babbling(syllables, causal=False, positions=200)
