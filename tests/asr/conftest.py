"""The tokenizer and the model that these tests share."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece

from speech.asr.model import FastConformer
from speech.asr.tokenizer import SentencePiece
from tests.asr.small import PIECES, small_model

TEXT = [
    "the cat sat on the mat and the rat ran",
    "a red hat hid in the den",
    "ten men met at the tent",
    "tea and toast",
]


@pytest.fixture(scope="session")
def sentencepiece_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 5), model_writer=model, vocab_size=PIECES, model_type="bpe", minloglevel=2
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="session")
def tokenizer(sentencepiece_file: Path) -> SentencePiece:
    return SentencePiece(sentencepiece_file)


@pytest.fixture(scope="session")
def model() -> FastConformer:
    return small_model()
