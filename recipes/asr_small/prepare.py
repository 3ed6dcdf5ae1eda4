"""Stage `prepare`: decoded audio and a tokenizer, from configured corpora; and their later use as cut sets."""

from __future__ import annotations

import gzip
import io
import logging
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import sentencepiece
from lhotse import MonoCut

from recipes.asr_small.batches import usable
from recipes.asr_small.settings import Settings
from recipes.asr_small.targets import token_spans
from recipes.common.prepare import Source, cache, configured, decode, held_out, hours
from recipes.common.text import normalise
from speech.asr.tokenizer import Tokenizer
from speech.errors import SpeechError

log = logging.getLogger(__name__)


def prepare(settings: Settings) -> None:
    """Decode every corpus once and learn the tokenizer; what is there already is kept."""
    decode(settings, [*configured(settings), *_others(settings)])
    if settings.tokenizer.is_file():
        return
    given = _given_tokenizer(settings)
    if given is not None:
        shutil.copyfile(given, settings.tokenizer)
        return
    learn_tokenizer(_training_text(settings), settings.raw.tokenizer.vocabulary, settings.tokenizer)


def _others(settings: Settings) -> Iterator[Source]:
    """Corpora beside the configured ones: noise, and the speech of stage `synthesize`."""
    if settings.raw.data.noise:
        yield "noise", Path(settings.raw.data.noise), "manifest"
    if (settings.synthetic / "manifest.jsonl").is_file():
        yield "synthetic", settings.synthetic, "manifest"


def training_corpora(settings: Settings) -> list[str]:
    """Names of the corpora that are trained on: the configured ones, and "synthetic" if it was made."""
    made = settings.raw.data.synthetic_share > 0 and cache(settings, "synthetic").ready
    return [*settings.raw.data.train, *(["synthetic"] if made else [])]


def _given_tokenizer(settings: Settings) -> Path | None:
    """The tokenizer that the configuration names, or that belongs to the weights training starts from.

    Raises SpeechError where the one that is named is not there.
    """
    if settings.raw.tokenizer.path:
        named = Path(settings.raw.tokenizer.path)
        if not named.is_file():
            raise SpeechError(f"expected a SentencePiece model at tokenizer.path={named}, found none: correct the path")
        return named
    beside = Path(settings.raw.init_from or ".") / "tokenizer.model"
    return beside if settings.raw.init_from and beside.is_file() else None


def _training_text(settings: Settings) -> Iterator[str]:
    """Normalised transcripts of the training corpora, then lines of the configured text files."""
    for name in settings.raw.data.train:
        for cut in cache(settings, name).cuts():
            yield cut.supervisions[0].text or ""
    for path in settings.raw.data.text:
        with gzip.open(Path(settings.raw.data.root) / path, "rt", encoding="utf-8") as lines:
            yield from map(normalise, islice(lines, 30_000))


def learn_tokenizer(text: Iterator[str], vocabulary: int, path: Path) -> None:
    """Train a SentencePiece byte-pair encoder (Sennrich et al. 2016) and write it. Ids: 0 unknown, then pieces.

    Raises SpeechError for text that cannot be read, and where it does not give so many pieces, or needs more.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=filter(None, text),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary,
            normalization_rule_name="identity",
            character_coverage=1.0,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:  # what the text's own iterator raises comes as one, too
        reason = str(error).splitlines()[0].strip()
        raise SpeechError(
            f"expected text from which {vocabulary} pieces can be learnt, got {reason!r}: "
            "change tokenizer.vocabulary or data"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())


def load_tokenizer(settings: Settings) -> Tokenizer:
    """Raises SpeechError if there is none, or if its size is not the configured vocabulary."""
    if not settings.tokenizer.is_file():
        raise SpeechError(f"expected a tokenizer at {settings.tokenizer}, found none: run stage=prepare first")
    tokenizer = Tokenizer.load(settings.tokenizer)
    if len(tokenizer) != settings.model.vocabulary:
        raise SpeechError(
            f"expected a tokenizer of {settings.model.vocabulary} pieces, got {len(tokenizer)} in"
            f" {settings.tokenizer}: set tokenizer.vocabulary, or remove the file and run stage=prepare"
        )
    return tokenizer


def training_sets(settings: Settings) -> tuple[list[list[MonoCut]], list[MonoCut]]:
    """[real, and synthetic if it was made], held out (of the real ones).

    Raises SpeechError when no utterance has text and a legal length.
    """
    real = [cut for name in settings.raw.data.train for cut in tokenised(settings, name)]
    held = [cut for cut in real if held_out(cut)]
    sets = [[cut for cut in real if not held_out(cut)]]
    if "synthetic" in training_corpora(settings):
        sets.append(tokenised(settings, "synthetic"))
    if not all(sets):
        raise SpeechError(f"expected training speech with text in {settings.raw.data.root}, found none that is usable")
    log.info("training on %s", " and ".join(f"{len(cuts)} utterances ({hours(cuts):.2f} hours)" for cuts in sets))
    return sets, held


def tokenised(settings: Settings, name: str) -> list[MonoCut]:
    """The usable cuts of one prepared corpus; each knows its cache and carries its tokens, and their times if known."""
    tokenizer, audio = load_tokenizer(settings), cache(settings, name)
    cuts, times = audio.cuts(), audio.word_times() if settings.optim.alignment else {}
    for cut in cuts:
        text, words = cut.supervisions[0].text or "", times.get(cut.id)
        cut.custom = {**(cut.custom or {}), "cache": name}
        spans = token_spans(text, words, tokenizer) if words else None
        cut.supervisions[0].custom = {"tokens": tokenizer.encode(text), "spans": spans}
    return [cut for cut in cuts if usable(cut, settings.batch)]
