"""Contexts, rates and embeddings of time."""

from __future__ import annotations

import math

import pytest
import torch

from speech.errors import SpeechError
from speech.flow.layers import Context, TimeEmbedding, beside, sinusoid
from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames


def test_contexts_count_in_tokens() -> None:
    assert Context(25, 50, 75, 5).attention(2) == {"chunk": 50, "left": 100, "sinks": 150, "ahead": 10}
    assert Context(25, 50).streams and not Context(25, None).streams and not Context(None).streams
    assert Context(3, None).attention(1)["left"] % 3 == 0
    assert "chunk" not in Context(None).attention(2)


@pytest.mark.parametrize("wrong", [(0, 10), (4, 6), (4, -4), (4, 4, -1), (4, 4, 0, 5)])
def test_impossible_contexts_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(SpeechError, match="multiple of it"):
        Context(*wrong)


def test_riding_channels_arrive_with_their_frames() -> None:
    module = beside(Conv1d(1, 1, 0, 3, bias=False), 1, 2)
    x = torch.arange(10.0).repeat_interleave(3).view(1, 10, 3)
    with torch.inference_mode():
        y = module(Frames.whole(x)).data
    assert torch.equal(y[..., 1:], x[..., 1:])
    assert module.look_ahead == 3 and module.first(0) == -3
    with pytest.raises(ValueError, match="remainder"):
        beside(Conv1d(1, 1, 0, stride=2), 1, 2)


def test_time_embedding() -> None:
    t = torch.tensor([0.0, 0.25])
    y = sinusoid(t, 320)
    assert y.shape == (2, 320)
    wanted = [math.sin(250), math.sin(0.025), math.cos(250), math.cos(0.025)]
    torch.testing.assert_close(y[1, [0, 159, 160, 319]], torch.tensor(wanted))
    embedding = TimeEmbedding(8, 4, interval=True)
    with torch.inference_mode():
        assert torch.equal(embedding(t), embedding(t, t)) and not torch.equal(embedding(t), embedding(t, 0 * t))
    with pytest.raises(ValueError, match="instantaneous"):
        TimeEmbedding(8, 4)(t, t)
