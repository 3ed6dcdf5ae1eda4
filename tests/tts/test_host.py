"""Streams of text side by side: each says what it says alone, whatever steps beside it and wherever its state lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import pytest

from speech.errors import SpeechError
from speech.streaming.arena import Full
from speech.streaming.engine.host import Yielding
from speech.streaming.lane import Call, Lane
from speech.tts.host import HostedSpeech, SynthesiserHost
from speech.tts.session import Speech
from speech.tts.synthesiser import Synthesiser
from tests.streaming.rounds import noted, together
from tests.tts.small import small_synthesiser

WISHES: list[tuple[str, dict[str, Any]]] = [
    ('Good morning. Wait<break time="200ms"/> here, please!', {"voice": "prompted", "seed": 3}),
    ("Five o'clock is late.", {"speed": 0.8, "seed": 1}),
    ("Is it <so>?", {"seed": 2, "markup": False}),
    ("Yes, and the others, too.", {"voice": "prompted", "speed": 1.5, "seed": 4}),
]
"""Texts and options."""


@pytest.fixture(scope="module", params=[0, 2], ids=["plain", "drafting"])
def synthesiser(request: pytest.FixtureRequest) -> Synthesiser:
    """Two voices, one of them with a prompt."""
    return small_synthesiser(draft_heads=2, drafts=request.param)


def pieces(text: str, seed: int) -> Iterator[str]:
    """A text in pieces of a few letters."""
    rng = Random(seed)
    while text:
        n = rng.randint(1, 9)
        yield text[:n]
        text = text[n:]


def lanes(host: SynthesiserHost) -> list[Lane]:
    """Those that streams of the host step in."""
    return [step.lane for step in host.regular]


def free(host: SynthesiserHost) -> set[int]:
    """Free slots of the lanes."""
    return {lane.arena.free for lane in lanes(host)}


def assert_said(parts: list[Speech], alone: Speech) -> None:
    """The parts are the sound of a stream that ran by itself."""
    samples = np.concatenate([part.samples for part in parts])
    assert samples.shape == alone.samples.shape and len(parts) > 1
    np.testing.assert_allclose(samples, alone.samples, atol=1e-5)
    assert tuple(word for part in parts for word in part.words) == alone.words


def test_each_says_what_it_says_alone(synthesiser: Synthesiser) -> None:
    host, rng = synthesiser.host(3), Random(0)
    inputs = [[*pieces(text, seed), None] for seed, (text, _) in enumerate(WISHES)]
    waiting, running, said = [0, 1, 2, 3], {}, [[] for _ in WISHES]
    while waiting or running:
        while waiting and len(running) < 3:
            i = waiting.pop(0)
            running[i] = host.open(**WISHES[i][1])
        some = rng.sample([*running], rng.randint(1, len(running)))
        for i in running.keys() - some:  # whoever has no text leaves the card
            for seat in running[i].seats:
                seat.park()
        for i in some:
            for seat in running[i].seats:
                seat.unpark()
        askings = [_fed(running[i], inputs[i].pop(0)) for i in some]
        for i, parts in zip(some, together(askings), strict=True):
            said[i] += parts
            assert running[i].lead == pytest.approx(sum(part.seconds for part in said[i]))
            if not inputs[i]:
                running.pop(i).close()
    assert free(host) == {3}
    for parts, (text, how) in zip(said, WISHES, strict=True):
        assert_said(parts, synthesiser.synthesize(text, **how))


def _fed(stream: HostedSpeech, text: str | None) -> Yielding:
    return stream.ending() if text is None else stream.feeding(stream.taken(text))


def test_a_voice_is_prompted_amid_the_others() -> None:
    """The first stream of a voice runs the prompt by calls, too; the next one begins with what that left."""
    synthesiser, text = small_synthesiser(), "Good morning. It is late."
    host = synthesiser.host(3)
    streams = [host.open(voice=voice, seed=1) for voice in ("plain", "prompted", "prompted")]
    said = together([stream.feeding(text) for stream in streams[:2]])
    assert len(synthesiser._setup.acoustics._prompts) == 1
    said += together([streams[2].feeding(text)])
    for parts, rest in zip(said, together([stream.ending() for stream in streams]), strict=True):
        parts += rest
    for parts, voice in zip(said, ("plain", "prompted", "prompted"), strict=True):
        assert_said(parts, synthesiser.synthesize(text, voice, seed=1))


def test_the_regular_steps_are_those_that_streams_take(synthesiser: Synthesiser) -> None:
    host = synthesiser.host(1)
    told = {(step.lane, step.count, step.phase, step.shape, step.dtype) for step in host.regular}
    stream, calls = host.open(seed=0), []
    for asking in (stream.feeding("Good morning to you."), stream.ending()):
        together([noted(asking, calls)])
    assert told <= {(*call.key, tuple(call.data.shape[1:]), call.data.dtype) for call in calls}
    assert {call.seat.lane for call in calls} == set(lanes(host))
    often = {step.lane: step.per_second for step in host.regular}
    seconds, counts = stream.lead, Counter(call.seat.lane for call in calls)
    for lane in lanes(host)[-3:]:  # and what looks ahead steps a little more, at the end
        assert counts[lane] == pytest.approx(often[lane] * seconds, abs=5)


def test_what_is_refused_takes_no_seat(synthesiser: Synthesiser) -> None:
    host = synthesiser.host(1)
    with pytest.raises(SpeechError, match="expected a voice of plain, prompted"):
        host.open(voice="nobody")
    with pytest.raises(SpeechError, match="expected a speed of"):
        host.open(speed=9.0)
    for taken in lanes(host):  # a place in every lane, or in none
        seat = taken.open()
        with pytest.raises(Full):
            host.open()
        assert {lane.arena.free for lane in lanes(host) if lane is not taken} == {1}
        seat.close()
    host.open().close()


def test_a_stream_is_left_midway(synthesiser: Synthesiser) -> None:
    host = synthesiser.host(1)
    stream = host.open()
    asking = stream.feeding(stream.taken("Good morning. It is late."))
    assert isinstance(next(asking), Call) and free(host) == {0}
    asking.close()
    for _ in range(2):
        stream.close()
        assert free(host) == {1}


def test_wrong_text_is_told(synthesiser: Synthesiser) -> None:
    host = synthesiser.host(1)
    stream = host.open()
    with pytest.raises(SpeechError, match="expected pieces of text, got int: pass strings"):
        stream.taken(3)  # type: ignore[arg-type]
    together([stream.feeding("привет")])
    with pytest.raises(SpeechError, match="this voice can say, got привет only"):
        together([stream.ending()])
    with pytest.raises(SpeechError, match="before the end of the stream"):
        stream.taken("More.")
    assert not stream.warnings and stream.lead == 0
