"""What the language model of the synthesiser learns from: symbols with their codes, and batches of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.common.optim import AdamWConfig
from recipes.tts_small.lm_training import OTHERS, LMBatchConfig, LMTraining, Texts
from recipes.tts_small.symbols import punctuation, spoken
from recipes.tts_small.tracks import PHONES, Phones
from speech.tts.aligned import Aligned, spans
from speech.tts.layout import Batch, Utterance, Vocabulary
from speech.tts.lm import TextSpeechConfig, TextSpeechLM
from speech.tts.qwen2 import Qwen2Config
from speech.tts.reader import PhonemeReader
from speech.tts.text.frontend import pieces
from speech.tts.text.inventory import SYMBOLS
from speech.tts.text.lexicon import Lexicon

VOCABULARY = Vocabulary.beside(len(SYMBOLS), 60, 2, 3)


def phones(*rows: tuple[str, int, int]) -> Phones:
    names, frames, words = zip(*rows, strict=True)
    return Phones(np.array([PHONES.index(name) for name in names]), np.array(frames), np.array(words))


def said(utterance: Utterance) -> list[tuple[str, int]]:
    return [(SYMBOLS[id], count) for id, count in zip(utterance.text, utterance.counts, strict=True)]


def test_silence_becomes_the_pause_that_is_written_and_the_first_is_left_out() -> None:
    rows = phones(
        ("SIL", 20, -1), ("HH", 8, 0), ("AY1", 20, 0), ("SIL", 40, -1), ("Y", 8, 1), ("UW1", 12, 1), ("SIL", 4, -1),
        ("B", 10, 2), ("AY1", 26, 2), ("SIL", 60, -1),
    )  # fmt: skip
    utterance = spoken(rows, np.arange(52), ["!", "", "?"], 2)
    wanted = [("HH", 2), ("AY1", 5), ("!", 10), ("Y", 2), ("UW1", 3), (" ", 1), ("B", 3), ("AY1", 6), ("?", 10)]
    assert said(utterance) == wanted
    assert utterance.codes == list(range(5, 5 + sum(utterance.counts)))
    assert utterance.voice == 2
    plain = [symbol for symbol, _ in said(spoken(rows, np.arange(52), [""] * 3, 2))]
    assert plain == ["HH", "AY1", ",", "Y", "UW1", " ", "B", "AY1", "."]


def test_symbols_are_those_that_the_reader_makes_of_the_same_text() -> None:
    lexicon = Lexicon()
    read = PhonemeReader(lexicon, VOCABULARY).read(pieces("Red house, big dog?")[0], 0).ids
    rows, marks = [("SIL", 8, -1)], []
    for number, word in enumerate("red house big dog".split()):
        rows += [(phone, 8, number) for phone in lexicon.word(word)]
        marks.append({"house": ",", "dog": "?"}.get(word, ""))
        rows += [("SIL", 16, -1)] if marks[-1] else []
    count = sum(frames for _, frames, _ in rows) // 4
    assert list(spoken(phones(*rows), np.arange(count), marks, 0).text) == read


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12), st.integers(0, 3))
def test_codes_and_counts_always_fit(words: list[tuple[int, bool]], missing: int) -> None:
    rows: list[tuple[str, int, int]] = []
    for number, (frames, silent) in enumerate(words):
        rows += [("AA1", frames, number), *([("SIL", frames, -1)] if silent else [])]
    total = -(-sum(frames for _, frames, _ in rows) // 4)
    utterance = spoken(phones(*rows), np.arange(max(total - missing, 0)), [""] * len(words), 0)
    assert sum(map(len, spans(utterance))) == len(utterance.codes)


@pytest.mark.parametrize(
    ("written", "words", "marks"),
    [
        ("Well, I'm off; bye.", "well i'm off bye", [",", "", ";", "."]),
        ("In 1842 it fell.", "in one thousand eight hundred forty two it fell", [""] * 9),
        ("AND SO IT WAS", "and so it was", [""] * 4),
        ("a well-known man - really?", "a well known man really", ["", "", "", "-", "?"]),
    ],
)
def test_punctuation_by_word(written: str, words: str, marks: list[str]) -> None:
    assert punctuation(written, words.split()) == marks


def test_batches_hold_utterances_of_like_length_and_follow_from_their_number() -> None:
    rng = np.random.default_rng(0)
    rows = [Utterance([3] * n, [1] * 2 * n, [2] * n, voice=1 + i % 2) for i, n in enumerate(rng.integers(2, 60, 200))]
    config = LMBatchConfig(rows=400, buckets=6, unknown=0.5)
    texts = Texts(rows, [1.0] * len(rows), Aligned(VOCABULARY), config, 1)
    batches = [texts[i] for i in range(20)]
    assert all(batch.rows.shape[0] * batch.rows.shape[1] <= 400 for batch in batches)
    filled = [float(batch.lengths.sum()) / batch.rows[..., 0].numel() for batch in batches]
    assert np.mean(filled) > 0.75
    voices = torch.cat([batch.rows[:, 0, -1] for batch in batches]) - VOCABULARY.first_voice
    assert 0.3 < float((voices == OTHERS).float().mean()) < 0.7
    for a, b in zip(texts[7], batches[7], strict=True):
        torch.testing.assert_close(a, b)


def test_the_loss_falls_into_codes_and_lengths() -> None:
    torch.manual_seed(0)
    decoder = Qwen2Config(dim=8, layers=1, heads=1, kv_heads=1, head_dim=8, hidden=8, left=64)
    module = LMTraining(TextSpeechLM(TextSpeechConfig(VOCABULARY, decoder)), AdamWConfig())
    utterance = Utterance([5, 9, 2], [7, 8, 9, 10], [1, 3, 0])
    batch = Texts([utterance], [1.0], Aligned(VOCABULARY), LMBatchConfig(rows=20, buckets=1, unknown=0), 1)[0]
    losses = {name: float(x.detach()) for name, x in module.losses(batch).items()}
    codes, fills = 4, 3  # targets of each kind
    assert losses["loss"] == pytest.approx(losses["length"] + losses["code"] * codes / (codes + fills), rel=1e-4)


def test_draft_heads_add_to_the_loss_and_learn() -> None:
    torch.manual_seed(0)
    decoder = Qwen2Config(dim=8, layers=1, heads=1, kv_heads=1, head_dim=8, hidden=8, left=64)
    model = TextSpeechLM(TextSpeechConfig(VOCABULARY, decoder, draft_heads=2))
    module = LMTraining(model, AdamWConfig(), draft_weight=0.5)
    utterance = Utterance([5, 9, 2], [7, 8, 9, 10], [1, 3, 0])
    batch = Texts([utterance], [1.0], Aligned(VOCABULARY), LMBatchConfig(rows=20, buckets=1, unknown=0), 1)[0]
    losses = module.losses(batch)
    alone = model.loss(Batch(batch.rows, batch.lengths, batch.targets))
    torch.testing.assert_close(losses["loss"], alone + 0.5 * losses["draft"])
    losses["loss"].backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in model.drafts.parameters())
