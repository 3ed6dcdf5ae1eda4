"""Guessed ids: what is said with them is what is said without, in fewer passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

import pytest
import torch
from torch.optim import Adam

from speech.errors import SpeechError
from speech.streaming.arena import Arena
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.lane import Seat, alone
from speech.tts.aligned import Aligned
from speech.tts.generation import Generation
from speech.tts.joint import Interleaved, Whole
from speech.tts.layout import IGNORE, Batch, Layout, Utterance, Vocabulary
from speech.tts.lm import TextSpeechConfig, TextSpeechLM
from speech.tts.model import SynthesiserConfig
from speech.tts.qwen2 import Qwen2
from speech.tts.sampling import Sampler, SamplingConfig, uniform
from speech.tts.scoring import code_lanes
from tests.streaming.rounds import together
from tests.tts.small import DECODER, small_lm, small_synthesiser

JOINT, BESIDE = Vocabulary.cosyvoice2(text=50, codes=30), Vocabulary.beside(symbols=20, codes=30, ahead=2)
LAYOUTS: dict[str, Layout] = {
    "whole": Whole(JOINT, fewest=1, most=4),
    "interleaved": Interleaved(JOINT, most=1000),
    "aligned": Aligned(BESIDE, most=4),
}
HEADS = 3
FREE = SamplingConfig(top_p=0.95, top_k=None, window=0)
TEXT = [7, 3, 3, 9, 1, 0, 11, 12, 5, 2, 19, 4, 8]


def utterance(rng: Random) -> Utterance:
    """Three codes a symbol, of which the next is mostly the last one plus 7."""
    text, codes = [rng.randrange(20) for _ in range(rng.randint(5, 13))], [rng.randrange(30)]
    while len(codes) < 3 * len(text):
        codes.append(rng.randrange(30) if rng.random() < 0.1 else (codes[-1] + 7) % 30)
    return Utterance(text, codes, [3] * len(text))


@cache
def trained(vocabulary: Vocabulary) -> TextSpeechLM:
    """A model whose heads guess well."""
    rng, layouts = Random(0), [layout for layout in LAYOUTS.values() if layout.vocabulary == vocabulary]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lm = TextSpeechLM(TextSpeechConfig(vocabulary, DECODER, draft_heads=HEADS))
    optimizer = Adam(lm.parameters(), 0.02)
    for step in range(60):
        layout = layouts[step % len(layouts)]
        batch = Batch.of([layout.example(utterance(rng)) for _ in range(6)])
        states = lm.states(batch.rows, batch.lengths)
        loss = lm.loss(batch) + sum(lm.draft_losses(states, batch.rows, batch.targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lm.eval()


def stream_of(
    lm: TextSpeechLM, layout: Layout, seed: int, sampling: SamplingConfig, seats: Sequence[Seat] | None = None
) -> Generation:
    prompt = Utterance([1, 2, 3], [4, 5, 6, 7], [1, 2, 1])
    return Generation(lm, layout.script(prompt), Sampler(sampling, uniform(torch.Generator().manual_seed(seed))), seats)


def told(stream: Generation, text: list[int]) -> Generation:
    """The stream at the end of a text that it had all at once."""
    stream.push(text)
    stream.end()
    while not stream.done:
        alone(stream.advancing())
    return stream


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_said_is_the_same_in_fewer_passes(name: str) -> None:
    layout = LAYOUTS[name]
    lm = trained(layout.vocabulary)
    passes = dict.fromkeys((0, 1, HEADS), 0)
    for seed, sampling in enumerate((FREE, FREE, SamplingConfig(), SamplingConfig(temperature=0))):
        said = {}
        for drafts in passes:
            stream = told(stream_of(lm, layout, seed, replace(sampling, drafts=drafts)), TEXT)
            said[drafts] = (stream.script.ids, next(stream.sampler.draws))  # the draw: as many were used
            passes[drafts] += stream.passes
        assert said[0] == said[1] == said[HEADS]
    assert passes[HEADS] < 0.75 * passes[0] and passes[HEADS] < passes[1] < 0.85 * passes[0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_wrong_guesses_in_a_full_ring_change_nothing(name: str) -> None:
    """Random heads guess badly, and the decoder has long begun to forget."""
    layout, decoder = LAYOUTS[name], replace(DECODER, left=9, sinks=2)
    lm = small_lm(layout.vocabulary, decoder=decoder, draft_heads=HEADS)
    for seed in range(2):
        plain = told(stream_of(lm, layout, seed, FREE), TEXT)
        drafting = told(stream_of(lm, layout, seed, replace(FREE, drafts=HEADS)), TEXT)
        assert drafting.script.ids == plain.script.ids
        assert plain.position > 20 and drafting.passes > 0.7 * plain.passes


@pytest.mark.parametrize("spare", [0, 2])
def test_rows_that_are_taken_back_leave_no_trace(spare: int) -> None:
    """Not so without spare cells, once the ring is full."""
    torch.manual_seed(0)
    decoder = Qwen2(replace(DECODER, left=5, sinks=1), spare).eval()
    rows, wrong, slot = torch.randn(1, 20, 16), torch.randn(1, 20, 2, 16), torch.zeros(1, dtype=torch.long)
    with torch.inference_mode():
        whole = decoder(Frames.whole(rows)).data
        state, out = decoder.init_state(1), []
        for i in range(20):
            place = Place(slot + i, slot + OPEN, 3)
            chunk = torch.cat([rows[:, i : i + 1], wrong[:, i]], 1)
            out.append(decoder.step(Frames(chunk, place), state, slot).data[:, :1])
    same = (torch.cat(out, 1) - whole).abs().amax((0, 2)) < 1e-4
    assert same[:4].all() and same.all() == (spare == 2)


@pytest.mark.parametrize("name", LAYOUTS)
def test_streams_with_and_without_drafts_side_by_side(name: str) -> None:
    layout, rng = LAYOUTS[name], Random(2)
    lm = trained(layout.vocabulary)
    ways = [replace(FREE, drafts=2), replace(FREE, drafts=3), FREE, replace(FREE, drafts=3, accept=0.5)]
    texts = [TEXT[:n] for n in (13, 6, 10, 9)]
    apart = [told(stream_of(lm, layout, i, ways[i]), text).script.ids for i, text in enumerate(texts)]
    lanes = code_lanes(lm, replace(FREE, drafts=HEADS), 4)
    streams = [stream_of(lm, layout, i, ways[i], [lane.open() for lane in lanes]) for i in range(4)]
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


def test_a_guess_counts_from_a_probability_on() -> None:
    layout = LAYOUTS["aligned"]
    lm, passes = trained(BESIDE), []
    plain = told(stream_of(lm, layout, 0, FREE), TEXT)
    for accept in (1e-9, 0.5, 1.0):
        stream = told(stream_of(lm, layout, 0, replace(FREE, drafts=HEADS, accept=accept)), TEXT)
        passes.append(stream.passes / len(stream.script.ids))
        if accept == 1.0:
            assert stream.script.ids == plain.script.ids
    assert passes[0] < 0.4 < passes[2] and passes[0] < passes[1] < passes[2]


def test_what_is_accepted_is_what_heads_that_are_sure_say() -> None:
    """Every id is the choice of the decoder, or of a head that gives it the least probability, over the same rows."""
    layout, config = LAYOUTS["aligned"], SamplingConfig(temperature=0, drafts=2, accept=0.4)
    lm = trained(BESIDE)
    stream = told(stream_of(lm, layout, 0, config), TEXT)
    script = layout.script(Utterance([1, 2, 3], [4, 5, 6, 7], [1, 2, 1]))
    script.push(TEXT)
    script.end()
    rows, chosen = [], []
    while script.ready:
        rows += script.feed()
        chosen.append((len(rows) - 1, stream.script.ids[len(script.ids)]))
        script.take(chosen[-1][1])
    with torch.inference_mode():
        states = lm.states(torch.tensor([rows]))
        by_decoder, by_heads = lm.head(states)[0], [x[0] for x in lm.drafted(states, torch.tensor([rows]))]
    sampler, accepted = Sampler(config), 0
    for i, id in chosen:
        if id != sampler(by_decoder[i], apart=BESIDE.fill):
            heads = [x[i - n] for n, x in enumerate(by_heads[: config.drafts], 1) if i >= n]
            assert any(id == sampler(x, apart=BESIDE.fill) and x.softmax(-1)[id] > 0.4 - 1e-5 for x in heads)
            accepted += 1
    assert accepted and stream.passes < 0.7 * len(chosen)


def test_a_synthesiser_says_the_same_with_drafts() -> None:
    said = []
    for drafts in (0, 2):
        synthesiser = small_synthesiser(draft_heads=2, drafts=drafts)
        said.append(synthesiser.synthesize("Good morning to you.", seed=3))
    torch.testing.assert_close(torch.from_numpy(said[0].samples), torch.from_numpy(said[1].samples), rtol=0, atol=1e-5)
    assert said[0].words == said[1].words


def test_losses_of_the_heads_follow_their_definition_and_reach_all_weights() -> None:
    torch.manual_seed(0)
    layout = Interleaved(JOINT)
    lm = TextSpeechLM(TextSpeechConfig(JOINT, DECODER, draft_heads=2))
    batch = Batch.of([layout.example(utterance(Random(i))) for i in range(3)])
    states = lm.states(batch.rows, batch.lengths)
    losses = lm.draft_losses(states, batch.rows, batch.targets)
    for n, loss in enumerate(losses, 1):
        terms = []
        for b, targets in enumerate(batch.targets.tolist()):
            for i in range(len(targets) - n):
                if IGNORE not in targets[i : i + n + 1]:
                    state = states[b, i]
                    for j in range(n):
                        state = lm.drafts[j](state, lm.embedded(batch.rows[b, i + j + 1]))
                    terms.append(-lm.head(state).log_softmax(-1)[targets[i + n]])
        torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)
    torch.stack(losses).sum().backward()
    for name, parameter in lm.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_model_without_heads_is_what_it_was() -> None:
    torch.manual_seed(0)
    plain = TextSpeechLM(TextSpeechConfig(JOINT, DECODER))
    torch.manual_seed(0)
    more = TextSpeechLM(TextSpeechConfig(JOINT, DECODER, draft_heads=2))
    added = more.state_dict().keys() - plain.state_dict().keys()
    assert added and all(name.startswith("drafts.") for name in added)
    assert not any(name.startswith("drafts.") for name in plain.state_dict())
    for name, x in plain.state_dict().items():
        torch.testing.assert_close(x, more.state_dict()[name])
    assert Arena(plain.decoder, 1).bytes < Arena(more.decoder, 1).bytes


def test_drafts_that_a_model_has_no_heads_for() -> None:
    layout = LAYOUTS["aligned"]
    with pytest.raises(SpeechError, match="at most 3 drafts"):
        stream_of(trained(BESIDE), layout, 0, replace(FREE, drafts=4))
    with pytest.raises(SpeechError, match="at most 0 drafts"):
        SynthesiserConfig(sampling=SamplingConfig(drafts=1))
    with pytest.raises(SpeechError, match="at most 2 drafts"):
        small_synthesiser(draft_heads=2, drafts=3)
    with pytest.raises(SpeechError, match="draft_heads of at least 0"):
        TextSpeechConfig(draft_heads=-1)
    for wrong in ({"drafts": -1}, {"accept": 0.5}, {"drafts": 1, "accept": 0.0}, {"drafts": 1, "accept": 1.5}):
        with pytest.raises(SpeechError, match="correct them"):
            SamplingConfig(**wrong)  # type: ignore[arg-type]
