"""A stream of tokens: pieces, prompt, kept state, settings at call time, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.errors import SpeechError
from speech.flow.layers import Context
from speech.flow.model import Flow
from speech.flow.solver import Sampling
from speech.flow.stream import FlowSetup, FlowStream
from speech.streaming.arena import Full
from tests.streaming.rounds import together

SPEAKER = torch.linspace(-1, 1, 6)
PROMPT_TOKENS, PROMPT = torch.arange(7), torch.linspace(-1, 1, 14 * 8).view(14, 8)


def opened(small: Flow, prompt: bool = True, **how: Context | Sampling) -> FlowStream:
    stream = FlowStream(FlowSetup.of(small, **how), SPEAKER)  # type: ignore[arg-type]
    if prompt:
        stream.prompt(PROMPT_TOKENS, PROMPT)
    return stream


def tokens(n: int) -> Tensor:
    return torch.arange(n) * 7 % 20


def whole(small: Flow, x: Tensor, **how: Context | Sampling) -> Tensor:
    """The mel frames behind the prompt, made in one call."""
    with torch.inference_mode():
        both = torch.cat([PROMPT_TOKENS, x])[None]
        return small(both, SPEAKER[None], PROMPT[None], **how).data[0, len(PROMPT) :]


@settings(max_examples=10, deadline=None)
@given(pieces=st.lists(st.integers(0, 9), max_size=6))
def test_pieces_equal_one_call(small: Flow, pieces: list[int]) -> None:
    x = tokens(sum(pieces))
    stream = opened(small)
    mel = torch.cat([*(stream.push(part) for part in x.split(pieces)), stream.flush()])
    assert len(mel) == 2 * len(x)
    torch.testing.assert_close(mel, whole(small, x), atol=1e-5, rtol=1e-5)


def test_frames_come_with_the_chunk_and_its_look_ahead(small: Flow) -> None:
    stream = opened(small, prompt=False)
    assert [len(stream.push(token)) for token in tokens(13).split(1)] == [0] * 7 + [10] + [0] * 4 + [10]


@pytest.mark.parametrize("how", [{"context": Context(3, 6, 7)}, {"sampling": Sampling(1, 0.0)}])
def test_context_and_sampling_are_chosen_at_call_time(small: Flow, how: dict[str, Any]) -> None:
    x, stream = tokens(20), opened(small, **how)
    mel = torch.cat([stream.push(x), stream.flush()])
    torch.testing.assert_close(mel, whole(small, x, **how), atol=1e-5, rtol=1e-5)
    assert (mel - whole(small, x)).abs().max() > 1e-3


def test_a_voice_is_kept_for_many_sentences(small: Flow) -> None:
    """The prompt runs once; its kept state begins every sentence, also in another stream."""
    stream = opened(small)
    voice = stream.keep()
    first = torch.cat([stream.push(tokens(12)), stream.flush()])
    for other in (stream, opened(small)):
        other.resume(voice)
        assert torch.equal(torch.cat([other.push(tokens(12)), other.flush()]), first)


def test_streams_share_lanes(small: Flow) -> None:
    """Two voices side by side, one of them begun where another stream was, and parked on its way."""
    setup = FlowSetup.of(small)
    lanes = setup.lanes(2)
    speakers = SPEAKER, SPEAKER.flip(0)
    streams = [FlowStream(setup, speaker, lanes) for speaker in speakers]
    with pytest.raises(Full):
        FlowStream(setup, SPEAKER, lanes)
    streams[1].push(tokens(9))
    streams[1].reset()
    together([stream.prompting(PROMPT_TOKENS, PROMPT) for stream in streams])
    mel = [stream.push(tokens(6)) for stream in streams]
    for seat in streams[1].seats:
        seat.park()
    body = lanes.body.open()
    with pytest.raises(Full):  # what looks ahead has its seat back
        FlowStream(setup, SPEAKER, lanes)
    body.close()
    for seat in streams[1].seats:
        seat.unpark()
    for stream, speaker, begun in zip(streams, speakers, mel, strict=True):
        both = torch.cat([PROMPT_TOKENS, tokens(6)])[None]
        with torch.inference_mode():
            expected = small(both, speaker[None], PROMPT[None]).data[0, len(PROMPT) :]
        torch.testing.assert_close(torch.cat([begun, stream.flush()]), expected, atol=1e-5, rtol=1e-5)
        stream.close()
    assert lanes.ahead.arena.free == lanes.body.arena.free == 2


def test_bad_input_is_refused(small: Flow) -> None:
    with pytest.raises(SpeechError, match=r"0 \.\. 19, got 20"):
        opened(small).push(torch.tensor([3, 20]))
    with pytest.raises(SpeechError, match="14 mel frames for 7 tokens, got 15"):
        small.conditioned(PROMPT_TOKENS[None], SPEAKER[None], torch.zeros(1, 15, 8))
    with pytest.raises(SpeechError, match="7 tokens of the prompt, got 12"):
        opened(small, prompt=False).prompt(PROMPT_TOKENS, PROMPT[:12])
    with pytest.raises(SpeechError, match="prompt first, got it behind 7 tokens"):
        opened(small).prompt(PROMPT_TOKENS, PROMPT)
    for context in (Context(None), Context(5, None)):
        with pytest.raises(SpeechError, match="bounded left"):
            opened(small, context=context)
    stream = opened(small)
    stream.flush()
    with pytest.raises(SpeechError, match="flushed"):
        stream.push(tokens(1))


def test_negative_tokens_count_as_the_first(small: Flow) -> None:
    a, b = (small.conditioned(torch.tensor([[x, 4]]), SPEAKER[None]) for x in (-1, 0))
    assert torch.equal(a, b)


def test_views_share_their_weights(small: Flow) -> None:
    view = small.estimator.at(Context(1, 4))
    assert {p.data_ptr() for p in view.parameters()} == {p.data_ptr() for p in small.estimator.parameters()}
    assert small.estimator.at(small.config.context) is small.estimator


def test_tokens_tell_of_symbols(small: Flow) -> None:
    config = replace(small.config, symbols=3)
    flow = Flow(config).eval()
    codes = torch.arange(5)
    labelled = torch.tensor([flow.token(int(code), 2) for code in codes])
    given = flow.conditioned(torch.stack([codes, labelled]), SPEAKER.expand(2, -1))[..., : config.encoder.dim]
    told = flow.symbols.weight[3] - flow.symbols.weight[0]  # type: ignore[union-attr]
    assert torch.allclose(given[1] - given[0], told.expand(5, -1), atol=1e-6)
    assert small.token(4, 2) == 4
    with pytest.raises(SpeechError, match=f"expected tokens of 0 .. {4 * config.vocabulary - 1}"):
        flow.conditioned(torch.tensor([[4 * config.vocabulary]]), SPEAKER[None])
