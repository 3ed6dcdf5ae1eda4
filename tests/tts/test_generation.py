"""Streams of codes: alone, beside one another, and across anything that may come between."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import torch

from speech.errors import SpeechError
from speech.streaming.arena import Arena
from speech.streaming.lane import Seat, alone
from speech.tts.aligned import Aligned
from speech.tts.generation import Generation
from speech.tts.joint import Interleaved, Whole
from speech.tts.layout import Batch, Layout, Script, Utterance, Vocabulary
from speech.tts.sampling import Sampler, SamplingConfig, uniform
from speech.tts.scoring import code_lanes
from tests.streaming.rounds import together
from tests.tts.small import small_lm

JOINT, BESIDE = Vocabulary.cosyvoice2(text=50, codes=30), Vocabulary.beside(symbols=20, codes=30, ahead=2)
LM = {vocabulary: small_lm(vocabulary) for vocabulary in (JOINT, BESIDE)}
LAYOUTS: dict[str, Layout] = {
    "whole": Whole(JOINT, fewest=1, most=4),
    "interleaved": Interleaved(JOINT, most=1000),
    "aligned": Aligned(BESIDE, most=4),
}
PROMPT = Utterance([1, 2, 3], [4, 5, 6, 7], [1, 2, 1])
TEXT = [7, 3, 3, 9, 1, 0, 11, 12, 5, 2, 19, 4, 8]


def stream_of(layout: Layout, seed: int, seats: Sequence[Seat] | None = None) -> Generation:
    sampler = Sampler(draws=uniform(torch.Generator().manual_seed(seed)))
    return Generation(LM[layout.vocabulary], layout.script(PROMPT), sampler, seats)


def told(stream: Generation, text: list[int]) -> list[int]:
    """The ids of a stream that has all its text at once, the failure of a runaway set aside."""
    stream.push(text)
    stream.end()
    while not stream.done:
        alone(stream.advancing())
    return stream.script.ids


@pytest.mark.parametrize("name", LAYOUTS)
def test_streams_beside_one_another_say_what_each_says_alone(name: str) -> None:
    layout, rng = LAYOUTS[name], Random(1)
    texts = [TEXT[:n] for n in (13, 1, 6, 10)]
    apart = [told(stream_of(layout, seed), text) for seed, text in enumerate(texts)]
    [lane] = code_lanes(LM[layout.vocabulary], SamplingConfig(), 4)
    seats = [lane.open() for _ in range(4)]
    for seat in seats:  # another stream was here before
        told(stream_of(layout, 9, [seat]), TEXT[:3])
    streams = [stream_of(layout, seed, [seats[seed]]) for seed in range(4)]
    left = [[*text] for text in texts]
    while not all(stream.done for stream in streams):
        some = rng.sample(range(4), rng.randint(1, 4))
        for i in some:
            if left[i]:
                streams[i].push(left[i][:2])
                left[i] = left[i][2:]
            elif not streams[i].script.ended:
                streams[i].end()
        together([streams[i].advancing() for i in some])
    assert [stream.script.ids for stream in streams] == apart


@pytest.mark.parametrize("name", LAYOUTS)
def test_steps_score_as_whole_sequences_do(name: str) -> None:
    """Forward over everything that was fed gives the scores that each step gave."""
    layout = LAYOUTS[name]
    lm, seen, fed = LM[layout.vocabulary], [], []
    script = layout.script(PROMPT)
    take = Sampler(draws=uniform(torch.Generator().manual_seed(3)))
    script.push(TEXT)
    script.end()
    arena, zero, position = Arena(lm.decoder, 1), torch.zeros(1, dtype=torch.long), 0
    with torch.inference_mode():
        while rows := script.feed():
            fed += rows
            scores = lm.step(torch.tensor([rows]), zero + position, arena.state, zero)[0]
            position = len(fed)
            seen.append((position - 1, scores))
            script.take(take(script.admit(scores), script.history))
        whole = lm(torch.tensor([fed]))[0]
    at, scores = zip(*seen, strict=True)
    torch.testing.assert_close(torch.stack(scores), whole[list(at)], rtol=0, atol=1e-4)


def test_a_parked_stream_goes_on_elsewhere() -> None:
    layout = LAYOUTS["interleaved"]
    expected = told(stream_of(layout, 5), TEXT)
    [lane] = code_lanes(LM[JOINT], SamplingConfig(), 2)
    seat = lane.open()
    stream = stream_of(layout, 5, [seat])
    stream.push(TEXT)
    stream.end()
    for _ in range(7):
        alone(stream.advancing())
    seat.park()
    told(stream_of(layout, 1, [lane.open()]), TEXT)
    seat.unpark()
    while not stream.done:
        alone(stream.advancing())
    assert stream.script.ids == expected


def test_codes_say_why_a_stream_breaks_off() -> None:
    stream = stream_of(Whole(JOINT, fewest=4, most=4), 0)
    stream.push([1])
    stream.end()
    codes = stream.codes()
    said = [next(codes) for _ in range(4)]
    with pytest.raises(SpeechError, match="expected the speech to end, got 4 codes for 1 text ids"):
        next(codes)
    assert said == stream.script.ids  # what was said is whole


def test_a_layout_of_another_vocabulary() -> None:
    script: Script = LAYOUTS["aligned"].script()
    with pytest.raises(SpeechError, match="own vocabulary"):
        Generation(LM[JOINT], script, Sampler())


def test_loss_counts_targets_that_count() -> None:
    lm, layout = LM[JOINT], LAYOUTS["whole"]
    examples = [layout.example(Utterance([1, 2], [3, 4, 5])), layout.example(Utterance([6], [7]))]
    with torch.inference_mode():
        together = lm.loss(Batch.of(examples))
        alone = [lm.loss(Batch.of([example])) for example in examples]
    assert together == pytest.approx(float((4 * alone[0] + 2 * alone[1]) / 6), rel=1e-5)
