"""Decoding chunk by chunk and whole: golden ids of windows, and a plain search that keeps nothing as reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.guard import Guard
from speech.asr.whisper.search import Hypothesis, Request, Search
from speech.errors import SpeechError
from speech.hub.whisper.weights import load_whisper
from speech.streaming.arena import Arena
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import State
from tests.asr.whisper.small import MUTE, SYMBOLS, WORDS, talkative

OPENING = SYMBOLS.prompt("en")
CONFIG = WhisperConfig(
    dim=12,
    encoder_layers=1,
    encoder_heads=2,
    decoder_layers=2,
    decoder_heads=2,
    positions=40,
    tokens=48,
    contexts=(Context.causal(4, 8, 40),),
)
LOOSE = Request(suppress=MUTE, guard=None, passes=9)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return talkative(CONFIG).decoder


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def random_frames(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, CONFIG.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def chunk(rows: Sequence[Tensor], starts: Sequence[int], stops: Sequence[int] | None = None) -> Frames:
    """A chunk of several streams. rows: [t, d] each."""
    stop = torch.tensor([OPEN] * len(rows) if stops is None else stops)
    return Frames(torch.stack(list(rows)), Place(torch.tensor(starts), stop, len(rows[0])))


def heard_by(search: Search, frames: Tensor, sizes: Sequence[int], state: State | None = None) -> list[Hypothesis]:
    """One stream [t, d] alone, in chunks of such sizes."""
    state, at, told = state or search.init_state(1, dtype=frames.dtype), 0, []
    for size in sizes:
        told += search.step(chunk([frames[at : at + size]], [at]), state, torch.tensor([0]))
        at += size
    return told


def sizes_of(count: int, rng: Random) -> list[int]:
    sizes = []
    while sum(sizes) < count:
        sizes.append(min(rng.randint(1, 6), count - sum(sizes)))
    return sizes


def plain_greedy(decoder: Decoder, frames: Tensor, sizes: Sequence[int], passes: int) -> list[list[int]]:
    """Greedy with the check of two ids, everything computed from the start in every pass."""
    text, last, settled, out = [], [], 0, []
    muted = torch.ones(SYMBOLS.vocabulary, dtype=torch.bool)
    muted[[*WORDS, SYMBOLS.end]] = False
    for reach in np.cumsum(sizes):
        if len(OPENING) + len(text) == CONFIG.tokens:
            out.append(text)
            continue
        heard = Frames.whole(frames[None, :reach])

        def scored(text: list[int], heard: Frames = heard) -> Tensor:
            logits = decoder(torch.tensor([[*OPENING, *text]]), heard)[0, len(OPENING) - 1 :]
            logits.masked_fill_(muted, -torch.inf)
            logits[0, SYMBOLS.end] = -torch.inf
            return logits

        logits, checked = scored(text), max(len(text) - 2, 0)
        for i in range(max(settled, checked), len(text)):
            if logits[i, text[i]] < last[i] and int(logits[i].argmax()) != text[i]:
                text = text[:i]
                break
        last = [*last[:checked], *(float(logits[i, text[i]]) for i in range(checked, len(text)))]
        for _ in range(passes):
            best = scored(text)[-1]
            if int(best.argmax()) == SYMBOLS.end:
                break
            text, last = [*text, int(best.argmax())], [*last, float(best.max())]
            if len(OPENING) + len(text) == CONFIG.tokens:
                break
        settled = max(settled, len(text) - 2)
        out.append(text)
    return out


@pytest.mark.parametrize(("mode", "beam"), [("greedy", 0), ("beam5", 5)])
def test_golden_windows(shared: Path, mode: str, beam: int) -> None:
    folder = shared / "fixtures" / "whisper_tiny"
    model = load_whisper(folder / "model.pt")
    with np.load(folder / "io.npz") as data:
        golden = {name: data[name] for name in data.files}
    samples = torch.zeros(2, 480000)
    samples[:, : len(golden["audio_int16"])] = torch.from_numpy(golden["audio_int16"]).float() / 32768
    samples[1] = samples[1].flip(0)  # beside it, another
    search = Search(model.decoder, SYMBOLS, Request(beam=beam, guard=None))
    told = search.decode(model.pipeline()(Frames.whole(samples)))[0]
    assert list(told.ids) == golden[f"decode_{mode}_ids"].tolist()
    assert told.ended
    assert told.mean == pytest.approx(float(golden[f"decode_{mode}_avg_logprob"]), abs=1e-4)
    assert told.no_speech == pytest.approx(float(golden["decode_no_speech_prob"]), abs=1e-5)


@pytest.mark.parametrize("seed", [0, 2, 5, 999])
def test_caches_equal_computing_anew(decoder: Decoder, seed: int) -> None:
    frames, sizes = random_frames(seed, 24), sizes_of(24, Random(seed))
    search = Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, renew=None))
    told = heard_by(search, frames, sizes)
    assert [list(h.ids) for h in told] == plain_greedy(decoder, frames, sizes, LOOSE.passes)


@pytest.mark.parametrize(("seed", "beam", "renew"), [(0, 0, 3), (1, 0, None), (2, 1, 8), (3, 3, 4), (4, 3, None)])
def test_streams_side_by_side(decoder: Decoder, seed: int, beam: int, renew: int | None) -> None:
    """Three streams in chunks of different phase, in slots that were used before, one of which ends early."""
    rng = Random(seed)
    search = Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, beam=beam, renew=renew))
    streams = [random_frames(seed + i, 24) for i in range(3)]
    stops = [OPEN, OPEN, 13]
    arena = Arena(search.init_state(1, "meta", torch.double), 5)
    arena.buffer.random_(256)
    slots = [4, 0, 2]
    arena.reset(slots)
    at, told, sizes = [-2, 0, -3], [[], [], []], []
    while min(at) < 18:
        size = rng.randint(1, 5)
        rows = [i for i in range(3) if at[i] < 18 and rng.random() < 0.8]
        parts = [torch.cat([torch.full((3, CONFIG.dim), torch.nan), streams[i]])[at[i] + 3 :][:size] for i in rows]
        if not rows:
            continue
        frames = chunk(parts, [at[i] for i in rows], [stops[i] for i in rows])
        for i, h in zip(rows, search.step(frames, arena.state, torch.tensor([slots[i] for i in rows])), strict=True):
            told[i].append((at[i], size, h))
            at[i] += size
        sizes.append(size)
    for i, history in enumerate(told):
        state = search.init_state(1, dtype=torch.double)
        for start, size, h in history:
            first = max(start, 0)
            count = max(min(start + size, stops[i]) - first, 1)
            place = Place(torch.tensor([first]), torch.tensor([stops[i]]), count)
            if start + size <= 0:
                assert h == Hypothesis()
                continue
            part = streams[i][None, first : first + count]
            alone = search.step(Frames(part, place), state, torch.tensor([0]))[0]
            assert (h.ids, h.frames, h.stable, h.ended) == (alone.ids, alone.frames, alone.stable, alone.ended)
            assert h.logprobs == pytest.approx(alone.logprobs, abs=1e-5)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 999), beam=st.sampled_from([0, 2, 4]))
def test_what_is_stable_stays(decoder: Decoder, seed: int, beam: int) -> None:
    """With short chunks and every combination of taking back."""
    search = Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, beam=beam, passes=3))
    told = heard_by(search, random_frames(seed, 36), sizes_of(36, Random(seed)))
    for i, now in enumerate(told):
        assert now.stable <= len(now.ids) == len(now.frames) == len(now.logprobs)
        for later in told[i:]:
            assert later.ids[: now.stable] == now.ids[: now.stable]
            assert later.stable >= now.stable


@pytest.mark.parametrize("beam", [0, 3])
def test_a_stream_is_saved_and_restored(decoder: Decoder, beam: int) -> None:
    search = Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, beam=beam, renew=4))
    frames = random_frames(5, 24)
    first = Arena(search.init_state(1, "meta", torch.double), 1)
    second = Arena(search.init_state(1, "meta", torch.double), 3)
    slot = first.open()
    second.open()
    expected = heard_by(search, frames, [6] * 4)
    for at in (0, 6):
        search.step(chunk([frames[at : at + 6]], [at]), first.state, torch.tensor([slot]))
    other = second.open()
    second.load(other, first.save(slot))
    for i, at in enumerate((12, 18), 2):
        told = search.step(chunk([frames[at : at + 6]], [at]), second.state, torch.tensor([other]))[0]
        assert dataclasses.replace(expected[i], logprobs=(), mean=0.0) == dataclasses.replace(
            told, logprobs=(), mean=0.0
        )


@pytest.mark.parametrize("beam", [0, 3])
@pytest.mark.parametrize("begin", [16, 60])
def test_a_text_begins_amid_a_stream(decoder: Decoder, beam: int, begin: int) -> None:
    """Only what was heard since counts, once with a ring of frames that has gone round; other streams do not notice."""
    prompt, prefix = (1001, 1004), (1002, 1003)
    search = Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, beam=beam))
    anew = Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, beam=beam, prompt=prompt, prefix=prefix))
    frames, other = random_frames(3, begin + 16), random_frames(4, begin + 16)
    state, undisturbed = search.init_state(2, dtype=torch.double), []
    for at in range(0, begin + 16, 4):
        if at == begin + 4:
            search.restart(state, 1, begin, prompt, prefix)
        rows = chunk([other[at : at + 4], frames[at : at + 4]], [at, at])
        bystander, told = search.step(rows, state, torch.tensor([0, 1]))
        undisturbed.append(bystander)
    alone = heard_by(anew, frames[begin:], [8, 4, 4])[-1]
    assert told.ids == alone.ids
    assert told.frames == tuple(begin + frame for frame in alone.frames)
    assert [h.ids for h in undisturbed] == [h.ids for h in heard_by(search, other, [4] * (len(other) // 4))]


def test_nothing_is_heard_yet(decoder: Decoder) -> None:
    """Frames before the stream, and a text that begins later."""
    search = Search(decoder, SYMBOLS, LOOSE)
    state, one = search.init_state(1, dtype=torch.double), torch.tensor([0])
    frames = random_frames(6, 12)
    assert search.step(chunk([frames[:4]], [-4]), state, one) == [Hypothesis()]
    assert search.step(chunk([frames[:4]], [0]), state, one)[0].ids
    search.restart(state, 0, 8)
    assert search.step(chunk([frames[4:8]], [4]), state, one) == [Hypothesis()]
    assert search.step(chunk([frames[8:]], [8]), state, one)[0].frames[0] == 11


def test_the_work_of_a_chunk_does_not_grow(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that are fed with a chunk, first pass and all: `renew`, and one for each new id."""
    search = Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, passes=4, renew=5))
    state, one, fed = search.init_state(1, dtype=torch.double), torch.tensor([0]), []
    step = decoder.step
    monkeypatch.setattr(decoder, "step", lambda ids, *rest: (fed.append(ids.shape[1]), step(ids, *rest))[1])
    told = Hypothesis()
    for at in range(0, 36, 3):
        fed.clear()
        told = search.step(chunk([random_frames(at, 3)], [at]), state, one)[0]
        assert fed[0] <= 5 and set(fed[1:]) <= {1} and len(fed) <= 4
    assert len(told.ids) > 8


def test_the_end_of_the_stream_lets_a_text_go_on(decoder: Decoder) -> None:
    """Steps without frames go on where the passes were too few."""
    frames = random_frames(8, 12)
    plenty = heard_by(Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, passes=60)), frames, [12])[-1]
    search = Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, passes=1))
    state = search.init_state(1, dtype=torch.double)
    told = heard_by(search, frames, [12], state)[-1]
    for _ in range(45):
        place = Place(torch.tensor([12]), torch.tensor([12]), 1)
        told = search.step(Frames(frames[None, :1] * torch.nan, place), state, torch.tensor([0]))[0]
    assert told.ids == plenty.ids


def test_a_decoder_that_runs_away(decoder: Decoder) -> None:
    """One word without end: said once. Any words without end: no more than the rate allows. Full: it stays so."""
    frames = random_frames(9, 36)
    lone = Request(suppress=(*MUTE, SYMBOLS.end, *WORDS[1:]))
    told = heard_by(Search(decoder, SYMBOLS, lone), frames, [6] * 6)
    assert all(h.ids == (WORDS[0],) and h.ended for h in told)
    whole = Search(decoder, SYMBOLS, lone).decode(Frames.whole(frames[None]))[0]
    assert whole.ids == (WORDS[0],) and whole.ended
    endless = Request(suppress=(*MUTE, SYMBOLS.end), guard=Guard(times=10**6, rate=10.0, burst=3))
    told = heard_by(Search(decoder, SYMBOLS, endless), frames, [6] * 6)
    assert [len(h.ids) for h in told] == [3 + int(10 * 0.12 * i) for i in range(1, 7)]
    for beam in (0, 2):
        full = Search(decoder, SYMBOLS, dataclasses.replace(endless, beam=beam, guard=None))
        told = heard_by(full, frames, [18, 18])
        assert [len(h.ids) for h in told] == [28, CONFIG.tokens - len(OPENING)]
        assert len(full.decode(Frames.whole(frames[None]))[0].ids) == CONFIG.tokens // 2


def test_bad_requests(decoder: Decoder) -> None:
    for request, message in (
        (Request(language="tlh"), "that this model knows, got 'tlh': choose one of en, zh"),
        (Request(task="sing"), "transcribe or translate"),  # type: ignore[arg-type]
        (Request(prefix=(7,) * 60), "leaves room in the decoder's 48 positions, got 60"),
        (Request(passes=0), "passes of at least 1"),
    ):
        with pytest.raises(SpeechError, match=message):
            Search(decoder, SYMBOLS, request)
    search = Search(decoder, SYMBOLS, Request(timestamps=True))
    with pytest.raises(SpeechError, match="whole windows"):
        heard_by(search, random_frames(0, 4), [4])


def test_a_long_prompt_keeps_its_end(decoder: Decoder) -> None:
    words = [WORDS[i % 6] for i in range(50)]
    frames = Frames.whole(random_frames(2, 20)[None])
    long, short = (Search(decoder, SYMBOLS, dataclasses.replace(LOOSE, prompt=tuple(p))) for p in (words, words[-23:]))
    assert long.decode(frames)[0].ids == short.decode(frames)[0].ids
