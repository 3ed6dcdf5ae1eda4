"""The pieces of the recipe that turns a Whisper into a causal one: alignment, labels, losses, vocabulary, scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from torch import Tensor
from torch.nn.functional import cross_entropy

from recipes.asr_small.align import align_part
from recipes.asr_small.augment import SpecAugmentConfig
from recipes.causal_whisper.align import load_aligner, word_times
from recipes.causal_whisper.data import FRAME, Batch, Crops, Utterance, spoken, stretch
from recipes.causal_whisper.guidance import guidance
from recipes.causal_whisper.labels import IGNORED, draw_prefixes, prefix_labels, sequence_ends, token_ends
from recipes.causal_whisper.module import PrefixTraining, Pretraining
from recipes.causal_whisper.scoring import Partial, Tally, settled
from recipes.causal_whisper.settings import ChunkConfig, CropConfig, PretrainConfig, TuneConfig
from recipes.causal_whisper.vocabulary import ENGLISH, Vocabulary, learn_tokenizer, used
from recipes.common.cache import RATE, AudioCache
from recipes.common.corpora import read_corpus
from recipes.tts_small.content_training import CLASSES
from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.lora import adapt
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer
from speech.audio.mel import WHISPER_STREAMING
from speech.errors import SpeechError
from speech.streaming.frames import Frames

CONTEXTS = ChunkConfig(sizes=(5, 10), initial=10).contexts(100)
SIZES = WhisperConfig(
    replace(WHISPER_STREAMING, features=16),
    dim=16,
    encoder_layers=2,
    encoder_heads=2,
    decoder_layers=2,
    decoder_heads=2,
    positions=100,
    tokens=16,
    contexts=CONTEXTS,
)
KEPT = Vocabulary(ENGLISH, (3, 7, 9, *sorted({Symbols(ENGLISH).end, *Symbols(ENGLISH).prompt()})))
NO_MASK = SpecAugmentConfig(bands=0, times=0)


def small(vocabulary: Vocabulary = KEPT) -> Whisper:
    torch.manual_seed(0)
    return Whisper(replace(SIZES, vocabulary=vocabulary.rows))


def batch() -> Batch:
    """Noise of 0.9 and 0.5 seconds with 4 and 2 tokens."""
    rng = torch.Generator().manual_seed(1)
    lengths = torch.tensor([round(0.9 * RATE), round(0.5 * RATE)])
    start, end = int(KEPT.row[KEPT.symbols.start]), int(KEPT.row[KEPT.symbols.end])
    quiet = int(KEPT.row[KEPT.symbols.no_timestamps])
    return Batch(
        samples=torch.randn(2, int(lengths[0]), generator=rng) * 0.1,
        lengths=lengths,
        before=torch.tensor([[start, quiet, 0, 1, 2, 1], [start, quiet, 2, 0, 0, 0]]),
        labels=torch.tensor([[quiet, 0, 1, 2, 1, end], [quiet, 2, 0, end, IGNORED, IGNORED]]),
        ends=torch.tensor([[0, 0.15, 0.29, 0.47, 0.77, 1.27], [0, 0.21, 0.43, 0.93, 0, 0]]),
        phones=torch.randint(len(CLASSES), (2, 45), generator=rng),
        seed=5,
    )


# alignment


def test_words_are_where_another_aligner_finds_them(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx", reason="the training extra is not installed")
    folder, audio = shared / "data" / "librispeech_test_clean", AudioCache(tmp_path, "some")
    cuts = sorted(read_corpus(folder, "manifest"), key=lambda cut: cut.duration)[:4]
    audio.build(lambda: CutSet.from_cuts(cuts), folder, 1)
    aligner, off = load_aligner("asr"), []
    other = align_part(audio, audio.cuts())
    for cut in audio.cuts():
        text = cut.supervisions[0].text or ""
        found = word_times(aligner, audio.audio(cut), text)
        assert len(found) == len(text.split())
        assert all(0 <= begin < end <= cut.duration for begin, end in found)
        off += [a[1] - b[1] for a, b in zip(found, other.get(cut.id, found), strict=True)]
    assert abs(float(np.median(off))) < 0.1
    assert word_times(aligner, audio.audio(cut), "far too many words for so little sound " * 20) == []
    with pytest.raises(SpeechError, match="to name a model with a CTC head, got vc"):
        load_aligner("vc")


# labels


def test_labels_of_prefixes_by_hand() -> None:
    assert token_ends([(1.0, 2.0), (2.5, 2.8)], [2, 1]) == pytest.approx([1.5, 2.0, 2.8])
    ends = sequence_ends(1, [(1.0, 2.0), (2.5, 2.8)], [2, 1])
    assert ends == pytest.approx([0.0, 1.5, 2.0, 2.8, 3.3])
    quiet, a, b, c, end = 90, 10, 11, 12, 99
    labels = torch.tensor([[quiet, a, b, c, end], [quiet, a, end, IGNORED, IGNORED]])
    due = torch.tensor([ends, [0.0, 0.4, 0.9, 0.0, 0.0]])
    heard = torch.tensor([[0.6, 1.9, 2.8, 9.0], [0.3, 0.4, 0.5, 9.0]])
    x = IGNORED
    assert prefix_labels(labels, due, heard, end).tolist() == [
        [[quiet, end, x, x, x], [quiet, a, end, x, x], [quiet, a, b, c, end], [quiet, a, b, c, end]],
        [[quiet, end, x, x, x], [quiet, a, end, x, x], [quiet, a, end, x, x], [quiet, a, end, x, x]],
    ]


@given(st.integers(0, 99), st.integers(1, 90), st.integers(1, 5), st.sampled_from(CONTEXTS))
@settings(max_examples=40, deadline=None)
def test_prefixes_end_where_chunks_do(seed: int, length: int, count: int, context: Context) -> None:
    rng = torch.Generator().manual_seed(seed)
    (reach,) = draw_prefixes(torch.tensor([length]), context, count, rng).tolist()
    assert len(reach) == count and reach[-1] == length
    for end in reach[:-1]:
        assert end == length or (end >= context.initial and end % context.chunk == 0 and end < length)


# losses


def naive(module: PrefixTraining, given: Batch, reach: Tensor, context: Context) -> Tensor:
    """One encoder pass and one short sequence for every prefix of every utterance."""
    total, asked, end = torch.zeros(()), 0, int(KEPT.row[KEPT.symbols.end])
    for i in range(len(given.samples)):
        for frames in reach[i].tolist():
            samples = given.samples[i : i + 1, : given.lengths[i]]
            heard = module.model.pipeline(context)(Frames.whole(samples))
            heard = Frames.whole(heard.data[:, :frames])
            kept = [k for k, label in enumerate(given.labels[i]) if label != IGNORED]
            kept = [k for k in kept if given.ends[i, k] <= frames * 0.02]
            labels = [int(given.labels[i, k]) for k in kept]
            if labels[-1] != end:
                labels.append(end)
            logits = module.model.decoder(given.before[i : i + 1, : len(labels)], heard)[0] + KEPT.weight
            total = total + cross_entropy(logits, torch.tensor(labels), reduction="sum")
            asked += len(labels)
    return total / asked


@pytest.mark.parametrize("rank", [None, 4])
def test_prefixes_in_one_pass_have_the_gradients_of_a_loop(rank: int | None) -> None:
    module = PrefixTraining(small(), KEPT, TuneConfig(prefixes=3), NO_MASK)
    if rank:
        for parameter in adapt(module.model, rank):
            torch.nn.init.normal_(parameter, std=0.1)
    module.eval()  # the first context, no masks
    given, context = batch(), CONTEXTS[0]
    losses, logits, labels = module.losses(given)
    losses["loss"].backward()
    assert logits.shape[:2] == labels.shape == (6, 6)
    got = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    assert any("lora" in type(m).__name__.lower() for m in module.modules()) == bool(rank)
    module.zero_grad()
    lengths = torch.tensor([45, 25])
    reach = draw_prefixes(lengths, context, 3, torch.Generator().manual_seed(given.seed))
    loss = naive(module, given, reach, context)
    loss.backward()
    assert losses["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    wanted = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    assert got.keys() == wanted.keys() and len(got) > 10
    for name, grad in wanted.items():
        torch.testing.assert_close(got[name], grad, rtol=1e-3, atol=1e-5, msg=name)


def test_a_frame_of_a_prefix_is_that_of_the_whole() -> None:
    model, given = small().eval(), batch()
    whole = model.pipeline(CONTEXTS[0])(Frames.whole(given.samples[:1])).data
    heard = model.pipeline(CONTEXTS[0])(Frames.whole(given.samples[:1, : 25 * FRAME])).data
    torch.testing.assert_close(whole[:, :20], heard[:, :20], rtol=1e-4, atol=1e-5)


def test_training_learns_what_it_is_told() -> None:
    module: Pretraining | PrefixTraining
    for module in (
        Pretraining(small(), KEPT, PretrainConfig(smoothing=0.0, noise=0.0), NO_MASK),
        PrefixTraining(small(), KEPT, TuneConfig(prefixes=3), NO_MASK),
    ):
        optimizer = torch.optim.Adam(module.parameters(), 1e-2)
        first = module.losses(batch())[0]["loss"].item()
        for _ in range(25):
            optimizer.zero_grad()
            loss = module.losses(batch())[0]["loss"]
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.6 * first


def test_the_decoder_is_shown_where_a_token_lies() -> None:
    ends = torch.tensor([[0.0, 0.0, 0.4, 0.8]])
    weights = torch.full((1, 2, 4, 50), 1 / 50)  # frames of 20 ms
    weights[0, 0, 2:] = 0.0
    weights[0, 0, 2, 10], weights[0, 0, 3, 30] = 1.0, 1.0
    assert guidance(weights, ends, 2).item() == pytest.approx(0.0, abs=1e-4)
    late = weights.roll(18, -1)  # by 0.36 s
    assert guidance(late, ends, 2).item() > 5
    weights[0, 1] = 0.0  # the other half of the heads looks where it likes
    assert guidance(weights, ends, 2).item() == pytest.approx(0.0, abs=1e-4)
    assert guidance(weights, torch.zeros_like(ends), 2).item() == 0.0  # nothing was said


# vocabulary


def test_rows_that_stand_for_many_ids_give_the_full_softmax(tmp_path: Path) -> None:
    texts = ["the cat's hat", "a hat that the cat had", ""]
    learn_tokenizer(texts, 262, tmp_path / "tokenizer.json")
    tokenizer = WhisperTokenizer.load(tmp_path, Symbols(ENGLISH))
    assert tokenizer.decode(tokenizer.encode(" the cat")) == " the cat"
    assert len(tokenizer) == Symbols(ENGLISH).end
    vocabulary = used(tokenizer, texts)
    vocabulary.write(tmp_path / "vocabulary.json")
    assert Vocabulary.read(tmp_path / "vocabulary.json") == vocabulary
    assert vocabulary.rows < 40
    model = small(vocabulary).eval()
    full = vocabulary.expanded(model)
    heard = Frames.whole(torch.randn(1, 8, 16))
    ids = torch.tensor([[*vocabulary.symbols.prompt(), *tokenizer.encode(" the hat"), 40000]])
    few = (model.decoder(vocabulary.row[ids], heard) + vocabulary.weight).log_softmax(-1)
    many = full.decoder(ids, heard).log_softmax(-1)
    kept = list(vocabulary.kept or ())
    torch.testing.assert_close(few[..., :-1], many[..., kept], rtol=1e-4, atol=1e-4)
    rest = [i for i in range(ENGLISH) if i not in set(kept)]
    torch.testing.assert_close(few[..., -1], many[..., rest].logsumexp(-1), rtol=1e-4, atol=1e-4)
    public = Vocabulary(ENGLISH)
    assert public.rows == ENGLISH and not public.weight.any()
    with pytest.raises(SpeechError, match="stage=prepare"):
        Vocabulary.read(tmp_path / "none.json")


# data


def utterance(tmp_path: Path) -> Utterance:
    """Four words of half a second each, after and before silence."""
    audio, count = AudioCache(tmp_path, "one"), 3 * RATE
    np.arange(count).astype(np.int16).tofile(audio.pcm)
    said = SupervisionSegment("u", "u", 0.0, 3.0, text="a b c d")
    cut = MonoCut("u", 0.0, 3.0, 0, supervisions=[said], recording=Recording("u", [], RATE, count, 3.0))
    cut.custom = {"offset": 0, "samples": count}
    return Utterance(audio, cut, [[3], [7, 9], [7], [9]], [(0.5 * i, 0.5 * i + 0.5) for i in range(1, 5)])


def test_stretches_are_cut_between_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    row = utterance(tmp_path)
    assert stretch(row.times, 2.0, rng) == (0, 4)
    for _ in range(20):
        first, last = stretch(row.times, 1.0, rng)
        assert last - first == 2
    config = CropConfig(seconds=4.0, shortest=1.0, longest=1.01)
    crops = Crops([row], KEPT, config, (1,), None)
    one, again = crops[3], crops[3]
    assert all(torch.equal(a, b) for a, b in zip(one[:-1], again[:-1], strict=True))  # type: ignore[arg-type]
    assert len(one.samples) == 3 and one.before.shape == one.labels.shape == one.ends.shape
    end = int(KEPT.row[KEPT.symbols.end])
    for labels, ends, length in zip(one.labels, one.ends, one.lengths, strict=True):
        asked = labels[labels != IGNORED]
        assert asked[-1] == end and (ends[: len(asked)].diff() >= 0).all()
        assert ends[len(asked) - 2] <= length / RATE + 1e-6
    with pytest.raises(SpeechError, match="stage=align"):
        Crops([], KEPT, config, (1,), None)


def test_frames_know_the_phone_that_is_being_spoken() -> None:
    row = spoken([[5, 6], [7]], [(0.1, 0.18), (0.26, 0.3)], 16)
    assert row.tolist() == [0] * 5 + [5] * 2 + [6] * 2 + [0] * 4 + [7] * 2 + [0]


# scores


def test_scores_by_hand() -> None:
    partials = [
        Partial(0.6, ["he"]),
        Partial(1.0, ["the"]),
        Partial(1.4, ["the", "cat"]),
        Partial(1.8, ["the", "hat", "sat"]),
    ]
    assert settled(partials) == [1.0, 1.8, 1.8]
    assert settled([]) == []
    tally = Tally()
    tally.add(["the", "cat", "sat"], [(0.2, 0.7), (0.8, 1.2), (1.3, 1.7)], ["the", "cat", "sat"], partials)
    scores = tally.scores()
    assert scores["whole"] == 0 and scores["streaming"] == pytest.approx(100 / 3, abs=0.01)
    # spoken by then: nothing, "the", "the cat", "the cat sat": one word too many, none, none, one other; of six words
    assert scores["partial"] == pytest.approx(100 * 2 / 6, abs=0.01)
    assert scores["delay_ms"] == {"median": 200, "p95": 290}
