"""Models that count, and their vocabulary."""

from __future__ import annotations

import pytest

from speech.asr.whisper.model import Whisper
from speech.asr.whisper.tokenizer import WhisperTokenizer
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
