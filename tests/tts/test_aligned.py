"""The layout in which text stands beside the codes: by hand, as a stream, and learned by a toy."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.tts.aligned import Aligned
from speech.tts.generation import Generation
from speech.tts.joint import Whole
from speech.tts.layout import Batch, Row, Utterance, Vocabulary
from speech.tts.lm import TextSpeechConfig, TextSpeechLM
from speech.tts.qwen2 import Qwen2Config
from speech.tts.sampling import Sampler, SamplingConfig
from tests.tts.small import admitted, scored, talk

V = Vocabulary.beside(symbols=6, codes=20, ahead=2)  # fill 20; text from 21 in three tables of 7, the seventh the end


def test_by_hand() -> None:
    example = Aligned(V).example(Utterance([3, 0, 5], [7, 8, 9], [2, 0, 1]))
    s, n, t, end = (21, 28, 35, 6)
    first, second, third = (s + 3, n + 0, t + 5), (s + 0, n + 5, t + end), (s + 5, n + end, t + end)
    assert example.rows == [(20, *first), (7, *first), (8, *first), (20, *second), (20, *third), (9, *third)]
    assert example.targets == [7, 8, 20, 20, 9, 20]
    assert V.rows == 21 + 3 * 7 and V.symbols == 6


def test_a_voice_is_one_more_row() -> None:
    v = Vocabulary.beside(symbols=6, codes=20, ahead=0, voices=3)
    assert Aligned(v).example(Utterance([1], [4], [1], voice=2)).rows == [(20, 22, 30), (4, 22, 30)]
    assert v.rows == 31
    with pytest.raises(SpeechError, match="voice below 3"):
        Aligned(v).script(Utterance(voice=3))


@settings(max_examples=60, deadline=None)
@given(
    text=st.lists(st.integers(0, 5), min_size=1, max_size=9),
    ahead=st.integers(0, 3),
    prompted=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_a_stream_writes_the_training_sequence(text: list[int], ahead: int, prompted: int, seed: int) -> None:
    rng, layout = Random(seed), Aligned(Vocabulary.beside(6, 20, ahead, voices=2), most=3)
    counts = [rng.randint(0, 3) for _ in text]
    codes = [rng.randrange(20) for _ in range(sum(counts))]
    example = layout.example(Utterance(text, codes, counts, voice=1))
    prompted = min(prompted, len(text) - 1)
    before = sum(counts[:prompted])
    script = layout.script(Utterance(text[:prompted], codes[:before], counts[:prompted], voice=1))

    ids = iter([id for n in range(prompted, len(text)) for id in _ids(codes, counts, n)])
    fed: list[Row] = []
    for at in range(prompted, len(text)):
        script.push([text[at]])
        fed += [row for rows, *_ in talk(script, ids) for row in rows]
        known = at + 1 - ahead
        assert len(script.starts) == max(known - prompted, 0) and not script.done
    script.end()
    fed += [row for rows, *_ in talk(script, ids) for row in rows]
    assert script.done and script.failure is None and script.history == codes[before:]
    # a fill after a symbol's third code is not asked for, and so the last code need not be fed
    assert fed == example.rows[: len(fed)] and len(example.rows) - len(fed) == (counts[-1] == 3)
    assert script.starts == [sum(counts[prompted:n]) for n in range(prompted, len(text))]


def _ids(codes: list[int], counts: list[int], n: int) -> list[int]:
    """What the decoder chooses in symbol n: its codes, and fill unless it comes by itself."""
    before = sum(counts[:n])
    return codes[before : before + counts[n]] + ([20] if counts[n] < 3 else [])


def test_what_may_come() -> None:
    script = Aligned(V, fewest=1, most=2).script(rate=2.0)
    script.push([0, 1])
    assert not script.ready  # two symbols ahead are not known
    script.push([2])
    script.feed()
    assert admitted(script) == set(range(20))
    assert script.take(3) == 3
    script.feed()
    scores = script.admit(scored(V, fill=1.0))
    assert scores[20] == pytest.approx(1 + 0.6931472) and (scores[:20] == 0).all()
    assert script.take(4) == 4 and script.ids == [3, 4, 20] and script.history == [3, 4]


def test_nothing_to_say_and_text_that_ends_late() -> None:
    script = Aligned(V).script(Utterance([1], [2], [1]))
    script.end()
    assert script.done and not script.ready
    v = Vocabulary.beside(6, 20, ahead=0)
    script = Aligned(v).script()
    script.push([1])
    assert [code for *_, code in talk(script, [3, 20])] == [3, None]
    assert not script.done and not script.ready
    script.end()
    assert script.done


def test_what_does_not_fit() -> None:
    with pytest.raises(SpeechError, match="how many codes each of 2 symbols takes"):
        Aligned(V).example(Utterance([1, 2], [3], [1]))
    with pytest.raises(SpeechError, match="align the utterance again"):
        Aligned(V).script(Utterance([1], [3], [2]))
    with pytest.raises(SpeechError, match="rate above 0"):
        Aligned(V).script(rate=0.0)
    with pytest.raises(SpeechError, match="symbols beside codes"):
        Aligned(Vocabulary.cosyvoice2(5, 5))
    with pytest.raises(SpeechError, match=r"text ids of 0 .. 5, got 6"):
        Aligned(V).script().push([6])
    with pytest.raises(SpeechError, match="text and codes in turn"):
        Whole(V)


def _spoken(text: list[int]) -> Utterance:
    """A language: symbol s is said as 1 + s % 3 codes 3s, 3s + 1, .., the last one more if the next symbol is odd."""
    codes, counts = [], []
    for s, after in zip(text, [*text[1:], 0], strict=True):
        own = [3 * s + i for i in range(1 + s % 3)]
        own[-1] = 18 + after % 2 if s == 0 else own[-1]
        codes += own
        counts.append(len(own))
    return Utterance(text, codes, counts)


def test_a_toy_learns_to_speak_in_order() -> None:
    torch.manual_seed(0)
    rng, layout = Random(0), Aligned(Vocabulary.beside(symbols=6, codes=20, ahead=1))
    decoder = Qwen2Config(dim=32, layers=2, heads=2, kv_heads=1, head_dim=16, hidden=64, left=12)
    lm = TextSpeechLM(TextSpeechConfig(layout.vocabulary, decoder))
    optimiser = torch.optim.AdamW(lm.parameters(), lr=1e-2)
    for _ in range(60):
        texts = [[rng.randrange(6) for _ in range(rng.randint(2, 9))] for _ in range(12)]
        loss = lm.loss(Batch.of([layout.example(_spoken(text)) for text in texts]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    lm.eval()
    text = [0, 3, 3, 3, 0, 0, 4, 5, 1, 2, 2, 0, 1, 5, 4, 0, 2, 5]  # longer than any that was seen, words repeated
    script = layout.script()
    stream, said = Generation(lm, script, Sampler(SamplingConfig(temperature=0.0))), []
    for symbol in text:
        stream.push([symbol])
        said += stream.codes()
    stream.end()
    said += stream.codes()
    expected = _spoken(text)
    assert said == expected.codes
    assert script.starts == [sum(expected.counts[:n]) for n in range(len(text))]
