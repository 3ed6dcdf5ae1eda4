"""Stage `prepare`: decoded audio, a tokenizer where none is given, and which of its ids are trained on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from recipes.causal_whisper.settings import WhisperSettings
from recipes.causal_whisper.vocabulary import ENGLISH, Vocabulary, learn_tokenizer, used
from recipes.causal_whisper.weights import read_whisper
from recipes.common.prepare import cache, configured, decode
from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer

log = logging.getLogger(__name__)


def prepare(settings: WhisperSettings) -> None:
    """Decode every corpus once; learn byte pairs unless a Whisper is given, whose ids are then all kept."""
    decode(settings, configured(settings))
    if settings.vocabulary.is_file():
        return
    if settings.init_from:
        vocabulary = Vocabulary(read_whisper(settings.init_from).config.vocabulary)
        WhisperTokenizer.load(settings.tokenizer, vocabulary.symbols)  # raises now rather than after the alignment
    else:
        if not settings.raw.tokenizer.path:
            learn_tokenizer(_texts(settings), settings.raw.tokenizer.pieces, settings.tokenizer)
        vocabulary = used(WhisperTokenizer.load(settings.tokenizer, Symbols(ENGLISH)), _texts(settings))
    vocabulary.write(settings.vocabulary)
    log.info("%d ids are trained on, of %d", vocabulary.rows, vocabulary.size)


def _texts(settings: WhisperSettings) -> Iterator[str]:
    """The normalised transcripts of the training corpora."""
    for name in settings.raw.data.train:
        for cut in cache(settings, name).cuts():
            yield cut.supervisions[0].text or ""
