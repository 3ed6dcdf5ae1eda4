"""When windows of a recording are decoded again, at which temperatures, and by which chance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from speech.asr.whisper.beam import Drawn
from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.fallback import Fallback, compression
from speech.asr.whisper.longform import LongFormStream
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.search import Hypothesis, Request, Search
from speech.asr.whisper.window import Look, Windows
from speech.errors import SpeechError
from speech.streaming.frames import Frames
from speech.streaming.module import State
from tests.asr.whisper.small import MUTE, SYMBOLS, babble, talkative
from tests.asr.whisper.test_search import CONFIG, LOOSE, OPENING, random_frames
from tests.asr.whisper.test_whisper_stream import finals, run
from tests.asr.whisper.toy import RATE

NEVER = Fallback(logprob=-math.inf, compression=math.inf)
ALWAYS = Fallback(logprob=math.inf, no_speech=1.0)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return talkative(CONFIG).decoder


@pytest.fixture
def temperatures(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those at which windows are decoded again, as they come."""
    used, again = [], Windows.again
    monkeypatch.setattr(Windows, "again", lambda *args: (used.append(args[4]), again(*args))[1])
    return used


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("mean", "text", "no_speech", "doubtful", "silent"),
    [
        (-0.3, "what a fine day", 0.1, False, False),
        (-1.1, "what a fine day", 0.1, True, False),
        (-0.3, "no " * 40, 0.1, True, False),
        (-1.1, "no " * 40, 0.7, False, True),
        (-0.3, "what a fine day", 0.7, False, False),  # who is sure of the text believes it
        (-0.3, "no " * 40, 0.7, True, False),
        (-0.3, "", None, False, False),
    ],
)
def test_the_rule(mean: float, text: str, no_speech: float | None, doubtful: bool, silent: bool) -> None:
    said = Hypothesis(mean=mean, no_speech=no_speech)
    assert (Fallback().doubtful(said, text), Fallback().silent(said)) == (doubtful, silent)


def test_what_repeats_itself_is_compressed() -> None:
    assert compression("what a fine day it is") < 1.2 < 2.4 < compression("a fine day " * 12) < compression("a" * 400)


def test_temperatures_have_limits(decoder: Decoder) -> None:
    with pytest.raises(SpeechError, match=r"above 0, got \(0\.0, 0\.2\)"):
        Fallback((0.0, 0.2))
    frames = Frames.whole(random_frames(0, 1, 20))
    for beam, temperature in ((0, -1.0), (2, 0.4)):
        with pytest.raises(SpeechError, match="a temperature of at least 0, and above 0 no beam"):
            Search(decoder, SYMBOLS, replace(LOOSE, beam=beam)).decode(frames, temperature=temperature)


def test_ids_are_drawn_as_likely_as_they_are() -> None:
    logits, temperature = torch.tensor([0.0, 1.0, 2.0, -math.inf, 0.5]), 0.7
    drawn = Drawn(temperature, seeded(3), SYMBOLS.end, None).candidates(logits.expand(4000, 2, 5))
    assert drawn.shape == (4000, 1, 1)
    share = drawn.flatten().bincount(minlength=5) / 4000
    torch.testing.assert_close(share, (logits / temperature).softmax(-1), atol=0.03, rtol=0.0)


def test_drawn_texts(decoder: Decoder) -> None:
    """Nearly cold they are the greedy ones; the same chance gives the same text; scores know no temperature."""
    frames = Frames.whole(random_frames(4, 3, 20))
    search = Search(decoder, SYMBOLS, LOOSE)
    cold = search.decode(frames, temperature=1e-6)
    for one, other in zip(search.decode(frames), cold, strict=True):
        assert one.ids == other.ids and one.mean == pytest.approx(other.mean, abs=1e-6)
    warm, same, others = (search.decode(frames, None, 0.8, seeded(seed)) for seed in (1, 1, 2))
    assert warm == same != others
    assert search.decode(frames, None, 0.8) == search.decode(frames, None, 0.8, seeded(0))
    said = warm[0]
    logits = decoder(torch.tensor([[*OPENING, *said.ids]]), Frames.whole(frames.data[:1]))[0, len(OPENING) - 1 :]
    logits[:, list(MUTE)] = -math.inf
    logits[0, SYMBOLS.end] = -math.inf
    expected = logits[:-1].log_softmax(-1).gather(-1, torch.tensor(said.ids)[:, None])[:, 0]
    assert said.logprobs == pytest.approx(expected.tolist(), abs=1e-5)


def opened(recogniser: WhisperRecogniser, fallback: Fallback | None, **changes: object) -> LongFormStream:
    windows = recogniser._windows(replace(recogniser.request, language="de", **changes))
    return LongFormStream(windows, RATE, fallback)


def test_windows_that_are_believed_are_decoded_once(
    babbling_windows: WhisperRecogniser, temperatures: list[float]
) -> None:
    pcm = babble(60)
    expected = run(opened(babbling_windows, Fallback(()), guard=None), pcm)
    assert run(opened(babbling_windows, NEVER), pcm) == expected and expected
    assert temperatures == []


@pytest.mark.parametrize("beam", [0, 2])
def test_doubt_goes_through_all_temperatures(
    babbling_windows: WhisperRecogniser, temperatures: list[float], beam: int
) -> None:
    """And what is said then hangs on the chance alone, which begins anew with every recording."""
    pcm = babble(30)
    stream = opened(babbling_windows, ALWAYS, beam=beam)
    events = run(stream, pcm)
    assert temperatures and temperatures == [*ALWAYS.temperatures] * (len(temperatures) // 5)
    stream.reset()
    assert run(stream, pcm, (777,)) == events
    assert events != run(opened(babbling_windows, NEVER, beam=beam), pcm)


def test_the_chance_can_be_given(babbling_windows: WhisperRecogniser) -> None:
    pcm = babble(40)
    recogniser = WhisperRecogniser(babbling_windows.model, babbling_windows.tokenizer, fallback=ALWAYS)
    recogniser.request = babbling_windows.request
    told = [recogniser.transcribe(pcm, RATE, generator=g) for g in (None, None, seeded(0), seeded(1))]
    assert told[0] == told[1] == told[2] != told[3]


@dataclass(frozen=True)
class Stuck(Windows):
    """Windows that at first are heard as one letter without end."""

    def step(self, frames: Frames, state: State, slots: Tensor) -> list[Look]:
        count, heard = 1000, super().step(frames, state, slots)
        stuck = Hypothesis((ord("a"),) * count, (0,) * count, (-0.1,) * count, count, True, -0.1, 0.0)
        return [look._replace(said=stuck) for look in heard]


def test_the_first_that_is_believed_stays(babbling_windows: WhisperRecogniser, temperatures: list[float]) -> None:
    windows = babbling_windows._windows(replace(babbling_windows.request, language="de"))
    stuck = Stuck(windows.model, windows.pipeline, windows.request, windows.text, windows.endpoint)
    rules = Fallback(logprob=-math.inf, compression=20.0)
    events = run(LongFormStream(stuck, RATE, rules), babble(30))
    assert temperatures == [0.2] * len(temperatures) and temperatures
    assert not any("aa" in final.text for final in finals(events))


def test_warm_texts_prompt_nobody(babbling_windows: WhisperRecogniser) -> None:
    for fallback, prompted in ((replace(ALWAYS, temperatures=(0.2, 0.4)), True), (ALWAYS, False), (NEVER, True)):
        stream = opened(babbling_windows, fallback)
        run(stream, babble(30))
        assert bool(stream._prompt) == prompted


def test_without_it_the_guard_is_back(babbling_windows: WhisperRecogniser) -> None:
    request = Request()
    for fallback, guard in ((Fallback(()), request.guard), (None, None)):
        assert opened(babbling_windows, fallback).windows.request.guard == guard


def test_silent_windows_say_nothing(babbling_windows: WhisperRecogniser) -> None:
    silent = Fallback((), logprob=math.inf, no_speech=-1.0)
    stream = opened(babbling_windows, silent)
    assert run(stream, babble(30)) == [] and stream.duration == pytest.approx(3.75)
