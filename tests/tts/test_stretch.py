"""Speech at other speeds: lengths, places, and cuts that do not matter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import SpeechError
from speech.tts.stretch import Stretch, checked_speed


def test_at_its_own_speed_every_frame_passes() -> None:
    mel = torch.randn(50, 4)
    out, times = Stretch().push(mel, [1.0] * 50)
    assert torch.equal(out, mel) and times == list(range(50))


@pytest.mark.parametrize(("speed", "count"), [(2.0, 50), (0.5, 199), (0.8, 124), (1.25, 80)])
def test_a_ramp_stays_a_ramp(speed: float, count: int) -> None:
    out, times = Stretch().push(torch.arange(100.0)[:, None], [speed] * 100)
    assert len(out) == count
    torch.testing.assert_close(out[:, 0], torch.arange(count) * speed)
    assert times == pytest.approx([i / speed for i in range(100)])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.25, 0.7, 1.0, 1.5, 4.0]), min_size=1, max_size=30), st.data())
def test_cuts_do_not_matter(speeds: list[float], data: st.DataObject) -> None:
    torch.manual_seed(0)
    mel = torch.randn(len(speeds), 3)
    whole, times = Stretch().push(mel, speeds)
    stretch, outs, places, at = Stretch(), [], [], 0
    while at < len(speeds):
        end = at + data.draw(st.integers(1, 5))
        out, place = stretch.push(mel[at:end], speeds[at:end])
        outs.append(out)
        places += place
        at = end
    assert torch.equal(torch.cat(outs), whole) and places == times


@pytest.mark.parametrize("speed", [0.0, -1.0, 0.2, 5.0, float("nan"), "fast", None])
def test_speeds_have_bounds(speed: Any) -> None:
    with pytest.raises(SpeechError, match=r"expected a speed of 0\.25 to 4\.0"):
        checked_speed(speed)
