"""Codes to samples: when they come, in how many steps of the vocoder, and that these change nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from speech.streaming.lane import Lane, alone
from speech.tts.render import Renderer
from speech.tts.synthesiser import Synthesiser
from tests.tts.small import CODES, small_synthesiser


@pytest.fixture(scope="module")
def synthesiser() -> Synthesiser:
    return small_synthesiser()


def opened(synthesiser: Synthesiser, voice: str, lanes: Any = None, speed: float = 1.0) -> Renderer:
    renderer = Renderer(synthesiser._setup.acoustics, synthesiser._voices[voice], lanes, speed=speed)
    alone(renderer.beginning())
    return renderer


def spoken(renderer: Renderer, speeds: list[float]) -> list[Tensor]:
    """What comes with every code, each of a speed of its own, and at the end."""
    codes = enumerate(speeds)
    parts = [alone(renderer.pushing([(7 * i) % CODES], speed)) for i, speed in codes]
    return [*parts, alone(renderer.flushing())]


@pytest.mark.parametrize(
    ("prompt", "speed", "frames"),
    [(0, 1.0, (10, 10)), (7, 1.0, (6, 10)), (9, 4.0, (1, 2)), (5, 1.5, (5, 5)), (0, 2.0, (5, 5)), (0, 0.25, (10, 10))],
)
def test_the_vocoder_takes_what_a_chunk_of_the_flow_brings(
    synthesiser: Synthesiser, prompt: int, speed: float, frames: tuple[int, int]
) -> None:
    assert synthesiser._setup.acoustics.chunks(prompt, speed) == frames


@pytest.mark.parametrize(("voice", "first"), [("plain", 8), ("prompted", 6)])
def test_sound_comes_with_every_chunk_in_one_step(
    synthesiser: Synthesiser, voice: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of 5 codes, 3 more ahead; behind a prompt of 7 codes the first one lacks 3 only."""
    lanes = synthesiser._setup.acoustics.lanes()
    renderer = opened(synthesiser, voice, lanes)
    run, steps = Lane.run, []
    monkeypatch.setattr(Lane, "run", lambda lane, calls, rows=None: steps.append(lane) or run(lane, calls, rows))
    parts = spoken(renderer, [1.0] * 18)
    assert [i + 1 for i, part in enumerate(parts[:-1]) if len(part)] == [*range(first, 19, 5)]
    assert len(parts[first - 1]) >= len(parts[first + 4]) - 2 * 800
    ended = 2  # steps with which the streams end
    for lane in (*lanes.flow, lanes.vocoder):
        assert steps.count(lane) <= len(range(first, 19, 5)) + ended


@pytest.mark.parametrize("voice", ["plain", "prompted"])
def test_steps_made_for_another_speed_give_the_same_sound(synthesiser: Synthesiser, voice: str) -> None:
    speeds = [1.0] * 6 + [2.5] * 7 + [0.5] * 4
    wholes = [torch.cat(spoken(opened(synthesiser, voice, speed=speed), speeds)) for speed in (1.0, 0.4, 1.7, 4.0)]
    for other in wholes[1:]:
        torch.testing.assert_close(other, wholes[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("speed", [1.3, 2.0, 4.0])
def test_faster_speech_waits_for_no_more_codes(synthesiser: Synthesiser, speed: float) -> None:
    codes = synthesiser._setup.acoustics.codes_before_sound
    parts = spoken(opened(synthesiser, "plain", speed=speed), [speed] * 15)
    assert len(parts[codes - 1]) and not any(map(len, parts[: codes - 1]))
