"""The layouts in which text and codes take turns: training sequences by hand, and streams that retrace them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.tts.joint import Interleaved, Whole
from speech.tts.layout import IGNORE, Batch, Utterance, Vocabulary
from tests.tts.small import admitted, flat, talk

V2 = Vocabulary.cosyvoice2(text=50, codes=30)  # eos 30, spare 31, fill 32, sos 33, task 34, text from 35
V3 = Vocabulary.cosyvoice3(text=50, codes=30, spare=6)  # sos 30, eos 31, task 32, fill 33, text from 36


def test_numbering() -> None:
    v2, v3 = Vocabulary.cosyvoice2(), Vocabulary.cosyvoice3()
    assert (v2.codes, v2.eos, v2.fill, v2.outputs, v2.sos, v2.task) == (6561, 6561, 6563, 6564, 6564, 6565)
    assert v2.rows == 6564 + 2 + 151936
    assert (v3.sos, v3.eos, v3.task, v3.fill, v3.outputs, v3.rows) == (6561, 6562, 6563, 6564, 6761, 6761 + 151936)


def test_whole_by_hand() -> None:
    example = Whole(V2).example(Utterance([4, 5], [7, 8, 9]))
    assert flat(example.rows) == [33, 39, 40, 34, 7, 8, 9]
    assert example.targets == [IGNORE, IGNORE, IGNORE, 7, 8, 9, 30]
    assert flat(Whole(V3).example(Utterance([4], [7])).rows) == [30, 40, 32, 7]


def test_interleaved_by_hand() -> None:
    layout = Interleaved(V2, text=2, codes=3)
    example = layout.example(Utterance([0, 1, 2, 3, 4], [10, 11, 12, 13, 14, 15, 16, 17]))
    assert flat(example.rows) == [33, 35, 36, 10, 11, 12, 37, 38, 13, 14, 15, 39, 34, 16, 17]
    i = IGNORE
    assert example.targets == [i, i, 10, 11, 12, 32, i, 13, 14, 15, 32, i, 16, 17, 30]
    even = layout.example(Utterance([0, 1], [10, 11, 12]))  # the last block holds no text
    assert flat(even.rows) == [33, 35, 36, 10, 11, 12, 34]
    assert even.targets == [i, i, 10, 11, 12, 32, 30]
    with pytest.raises(SpeechError, match="at least 3 codes for 2 text ids, got 2"):
        layout.example(Utterance([0, 1], [10, 11]))


def test_batches_are_padded() -> None:
    layout = Whole(V2)
    batch = Batch.of([layout.example(Utterance([4, 5], [7])), layout.example(Utterance([4], []))])
    assert batch.rows.shape == (2, 5, 1) and batch.lengths.tolist() == [5, 3]
    assert batch.targets.tolist() == [[-1, -1, -1, 7, 30], [-1, -1, 30, -1, -1]]


@settings(max_examples=60, deadline=None)
@given(
    text=st.lists(st.integers(0, 49), min_size=1, max_size=17),
    prompt_text=st.lists(st.integers(0, 49), max_size=9),
    spare=st.integers(0, 9),
    prompted=st.integers(0, 40),
    version=st.sampled_from([V2, V3]),
    seed=st.integers(0, 1000),
)
def test_a_stream_writes_the_training_sequence(
    text: list[int], prompt_text: list[int], spare: int, prompted: int, version: Vocabulary, seed: int
) -> None:
    """Whatever the pieces of text, the codes of an utterance make the very rows that it is trained on."""
    rng, layout = Random(seed), Interleaved(version, text=5, codes=15, most=1000)
    everything = [*prompt_text, *text]
    full = len(everything) // 5
    codes = [rng.randrange(30) for _ in range(15 * full + spare)]
    prompted = min(prompted, len(codes))
    example = layout.example(Utterance(everything, codes))

    script, fed, said = layout.script(Utterance(prompt_text, codes[:prompted])), [], []
    waiting, rest = [*text], codes[prompted:]
    while not script.done:
        while rows := script.feed():
            fed += rows
            at_end = len(said) == len(rest)
            id = (version.eos if script.ended and version.eos in admitted(script) else version.fill) if at_end else None
            id = rest[len(said)] if id is None else id
            assert id in admitted(script)
            code = script.take(id)
            said += [] if code is None else [code]
        if waiting:
            n = rng.randint(1, len(waiting))
            script.push(waiting[:n])
            waiting = waiting[n:]
        if not waiting and not script.ended:
            script.end()
    assert said == rest and script.failure is None
    assert fed == example.rows


def test_what_may_come_and_when() -> None:
    script, codes = Interleaved(V2, text=2, codes=3).script(), set(range(30))
    script.push([0, 1, 2])
    assert flat(script.feed()) == [33, 35, 36] and admitted(script) == codes | {32}
    assert [script.take(id) for id in (5, 6)] == [5, 6] and flat(script.feed()) == [6]
    assert script.take(7) == 7 and script.ids == [5, 6, 7, 32]  # the fill comes by itself
    assert not script.ready and script.feed() == []  # one more text id is needed
    script.end()
    assert flat(script.feed()) == [7, 37, 34] and admitted(script) == codes | {30}
    assert script.take(30) is None and script.done and not script.failure


def test_whole_text_keeps_to_its_lengths() -> None:
    script = Whole(V2, fewest=2, most=3).script(instruction=[9])
    script.push([0])
    assert not script.ready
    script.end()
    assert flat(script.feed()) == [33, 44, 35, 34] and admitted(script) == set(range(30))
    script.take(1)
    script.take(1)
    assert admitted(script) == {*range(30), 30}
    assert script.take(1) == 1
    assert script.done and script.failure and "got 3 codes for 1 text ids" in script.failure


def test_a_stream_that_does_not_end_breaks_off() -> None:
    script = Interleaved(V2, most=4).script()
    script.push([0, 1])
    script.end()
    assert len(list(talk(script, [1] * 100))) == 8
    assert script.done and script.failure


def test_nothing_to_say() -> None:
    for layout in (Whole(V2), Interleaved(V2)):
        script = layout.script(Utterance([1, 2], [3, 4]))
        assert not script.ready and not script.done
        script.end()
        assert not script.ready and script.done and script.feed() == []


def test_text_that_is_wrong_or_late() -> None:
    script = Interleaved(V2).script()
    with pytest.raises(SpeechError, match=r"text ids of 0 .. 49, got 50"):
        script.push([1, 50])
    assert script.text == []
    script.end()
    with pytest.raises(SpeechError, match="after it"):
        script.push([1])


def test_the_original_s_ways() -> None:
    """Only the first special id is kept from coming, any other ends or breaks the stream, and an input is repeated."""
    stock = Whole(V3, stock=True).script()
    stock.push([0])
    stock.end()
    stock.feed()
    assert admitted(stock) == set(range(36)) - {30}
    assert stock.take(33) is None and stock.done and not stock.failure

    stock = Interleaved(V2, text=2, codes=3, stock=True).script(Utterance([0], [1, 2, 3, 4]))
    stock.push([1])
    assert not stock.ready  # the second block of the prompt lacks text
    stock.end()
    assert flat(stock.feed()) == [33, 35, 36, 1, 2, 3, 34]  # its last code is dropped
    assert stock.take(31) is None and stock.done and "got the id 31" in str(stock.failure)

    default = Interleaved(V2, text=2, codes=3).script(Utterance([0], [1, 2, 3, 4]))
    default.push([1])
    default.end()
    assert flat(default.feed()) == [33, 35, 36, 1, 2, 3, 34, 4]

    for repeats in (True, False):
        script = Interleaved(V2, text=2, codes=3, stock=repeats).script()
        script.push([0, 1, 2])
        assert [code for _, _, code in talk(script, [5, 32])] == [5, None]
        script.end()
        assert flat(script.feed()) == ([5] if repeats else []) + [37, 34]
    assert torch.isfinite(Whole(V2, stock=True).script().admit(torch.zeros(33))).all()


@pytest.mark.parametrize("layout", [Whole, Interleaved])
def test_a_long_silence_is_cut_short(layout: type[Whole | Interleaved]) -> None:
    script = layout(replace(V3, silent=(1, 2))).script()
    script.push(range(5))
    script.end()
    chosen = [7, 1, 2, 1, 1, 2, 1, 2, 8, 1]
    said = []
    for id in chosen:
        assert script.feed()
        said.append(script.take(id))
    assert said == [7, 1, 2, 1, 1, 2, None, None, 8, 1]
    assert script.ids[: len(chosen)] == chosen  # the model goes on from all of them
