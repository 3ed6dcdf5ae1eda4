"""The decoder step by step beside whole sequences: tokens one or many at a time, over a memory that grows."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from speech.asr.whisper.decoder import Decoder
from speech.asr.whisper.model import Whisper
from speech.errors import SpeechError
from speech.streaming.arena import Arena
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import State
from tests.asr.whisper.small import CONFIG, small

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def model() -> Whisper:
    return small()


def heard(frames: Tensor, start: int, stop: int = OPEN) -> Frames:
    """A chunk of one stream. frames: [t, d]."""
    return Frames(frames[None], Place(torch.tensor([start]), torch.tensor([stop]), len(frames)))


def grown(decoder: Decoder, frames: Tensor, rng: Random, memory: State, slot: int) -> None:
    """Put encoder frames [t, d] into a memory, in chunks of changing size that begin before the stream."""
    at = -3
    padded = torch.cat([torch.full((3, CONFIG.dim), float("nan")), frames])
    while at < len(frames):
        count = rng.randint(1, 9)
        decoder.extend(heard(padded[at + 3 : at + 3 + count], at), memory, torch.tensor([slot]))
        at += count


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), frames=st.integers(1, 100), tokens=st.integers(1, 16))
def test_steps_equal_the_whole_sequence(seed: int, frames: int, tokens: int) -> None:
    """In slots that were used before; of a longer stream the last 40 frames are kept."""
    model, rng = small(), Random(seed)
    torch.manual_seed(seed)
    x, ids = torch.randn(frames, CONFIG.dim), torch.randint(23, (1, tokens))
    decoder = model.decoder
    memory, state = decoder.init_memory(3), decoder.init_state(4)
    for tree in (memory, state):
        for leaf in [leaf for layer in tree.values() if isinstance(layer, dict) for leaf in layer.values()]:
            leaf.normal_(std=100.0)
    with torch.inference_mode():
        grown(decoder, x, rng, memory, 2)
        assert memory["heard"].tolist() == [0, 0, frames]
        got, at = [], 0
        while at < tokens:
            count = min(rng.randint(1, 4), tokens - at)
            step = decoder.step(
                ids[:, at : at + count], torch.tensor([at]), state, torch.tensor([1]), memory, torch.tensor([2])
            )
            got.append(step)
            at += count
        expected = decoder(ids, Frames.whole(x[None, -CONFIG.positions :]))
    torch.testing.assert_close(torch.cat(got, 1), expected, **CLOSE)


def test_the_memory_grows_between_tokens(model: Whisper) -> None:
    """Tokens that came when less had been heard keep their keys and values, as in the published decoding."""
    decoder, x = model.decoder, torch.randn(20, CONFIG.dim)
    ids, one = torch.randint(23, (1, 5)), torch.tensor([0])
    memory, state = decoder.init_memory(1), decoder.init_state(1)
    with torch.inference_mode():
        for start in (0, 10):
            decoder.extend(heard(x[start : start + 10], start), memory, one)
            got = decoder.step(ids, torch.tensor([0]), state, one, memory)  # all tokens anew, from the start
            torch.testing.assert_close(got, decoder(ids, Frames.whole(x[None, : start + 10])), **CLOSE)


def test_hypotheses_share_a_memory(model: Whisper) -> None:
    """Two streams of three hypotheses each, in any slots; and several prefixes of an utterance in one pass."""
    decoder = model.decoder
    x, ids = torch.randn(2, 12, CONFIG.dim), torch.randint(23, (6, 7))
    memory, state = decoder.init_memory(3), decoder.init_state(8)
    reach = torch.tensor([12, 5, 9, 1, 12, 12])
    with torch.inference_mode():
        place = Place(torch.zeros(2, dtype=torch.long), torch.tensor([12, 8]), 12)
        decoder.extend(Frames(x, place), memory, torch.tensor([2, 0]))
        got = decoder.step(
            ids, torch.zeros(6, dtype=torch.long), state, torch.tensor([3, 0, 7, 1, 2, 6]), memory, torch.tensor([2, 0])
        )
        prefixes = decoder(ids, Frames(x, place), reach)
        for row in range(6):
            own = x[row // 3, : (12, 8)[row // 3]][None]
            torch.testing.assert_close(got[row], decoder(ids[row : row + 1], Frames.whole(own))[0], **CLOSE)
            cut = decoder(ids[row : row + 1], Frames.whole(own[:, : reach[row]]))
            torch.testing.assert_close(prefixes[row], cut[0], **CLOSE)


@pytest.mark.parametrize("since", [0, 7, 63])
def test_frames_since_a_time_alone(model: Whisper, since: int) -> None:
    """Of two streams in one pass one begins anew; of 70 frames the last 40 are kept."""
    decoder, x, ids = model.decoder, torch.randn(2, 70, CONFIG.dim), torch.randint(23, (2, 3))
    memory, state, both = decoder.init_memory(2), decoder.init_state(2), torch.tensor([0, 1])
    with torch.inference_mode():
        for at in (0, 35):
            place = Place(torch.tensor([at, at]), torch.tensor([OPEN, OPEN]), 35)
            decoder.extend(Frames(x[:, at : at + 35], place), memory, both)
        memory["since"][1] = since
        got = decoder.step(ids, torch.tensor([0, 0]), state, both, memory)
        expected = [decoder(ids[:1], Frames.whole(x[:1, 30:])), decoder(ids[1:], Frames.whole(x[1:, max(since, 30) :]))]
    torch.testing.assert_close(got, torch.cat(expected), **CLOSE)


def test_rows_of_different_length_in_one_pass(model: Whisper) -> None:
    """A shorter one begins before its text; logits of the last ids alone."""
    decoder, x = model.decoder, torch.randn(2, 9, CONFIG.dim)
    ids = torch.randint(23, (2, 6))
    memory, state, both = decoder.init_memory(2), decoder.init_state(2), torch.tensor([0, 1])
    with torch.inference_mode():
        decoder.extend(Frames.whole(x), memory, both)
        got = decoder.step(ids[:, :5], torch.tensor([0, -2]), state, both, memory, last=2)
        torch.testing.assert_close(got[:1], decoder(ids[:1, :5], Frames.whole(x[:1]))[:, -2:], **CLOSE)
        torch.testing.assert_close(got[1:], decoder(ids[1:, 2:5], Frames.whole(x[1:]))[:, -2:], **CLOSE)
        then = decoder.step(ids[:, 5:], torch.tensor([5, 3]), state, both, memory)
        torch.testing.assert_close(then[1:], decoder(ids[1:, 2:], Frames.whole(x[1:]))[:, -1:], **CLOSE)


def test_tokens_are_taken_back(model: Whisper) -> None:
    decoder, x, one = model.decoder, torch.randn(9, CONFIG.dim), torch.tensor([0])
    ids = torch.randint(23, (1, 16))
    memory, state = decoder.init_memory(1), decoder.init_state(1)
    with torch.inference_mode():
        decoder.extend(heard(x, 0), memory, one)
        decoder.step(ids, torch.tensor([0]), state, one, memory)
        again = torch.cat([ids[:, :6], (ids[:, 6:12] + 1) % 23], 1)
        got = decoder.step(again[:, 6:], torch.tensor([6]), state, one, memory)
        torch.testing.assert_close(got, decoder(again, Frames.whole(x[None]))[:, 6:], **CLOSE)


def test_the_state_lies_in_an_arena(model: Whisper) -> None:
    """Two arenas, one of streams and one of hypotheses; a saved hypothesis goes on in another slot, too."""
    decoder, x = model.decoder, torch.randn(9, CONFIG.dim)
    audio = Arena(decoder.init_memory(1, "meta", torch.float32), 2)
    text = Arena(decoder.init_state(1, "meta", torch.float32), 3)
    stream, first, second = audio.open(), text.open(), text.open()
    ids = torch.randint(23, (2, 4))
    ids[:, :2] = ids[0, :2]
    with torch.inference_mode():
        rows = torch.tensor([stream])
        decoder.extend(heard(x, 0, 6), audio.state, rows)
        decoder.step(ids[:1, :2], torch.tensor([0]), text.state, torch.tensor([first]), audio.state, rows)
        text.load(second, text.save(first))
        got = decoder.step(
            ids[:, 2:], torch.tensor([2, 2]), text.state, torch.tensor([first, second]), audio.state, rows
        )
        torch.testing.assert_close(got, decoder(ids, Frames.whole(x[None, :6]))[:, 2:], **CLOSE)


def test_padding_does_not_matter(model: Whisper) -> None:
    x, ids = torch.randn(1, 12, CONFIG.dim), torch.randint(23, (1, 3))
    x[:, 7:] = float("nan")
    with torch.inference_mode():
        got = model.decoder(ids, Frames.whole(x, torch.tensor([7])))
        torch.testing.assert_close(got, model.decoder(ids, Frames.whole(x[:, :7])), **CLOSE)


def test_too_much_at_once(model: Whisper) -> None:
    decoder = model.decoder
    with pytest.raises(SpeechError, match="at most 16 tokens"):
        decoder(torch.zeros(1, 17, dtype=torch.long), Frames.whole(torch.zeros(1, 2, CONFIG.dim)))
    with pytest.raises(SpeechError, match="at most 40 encoder frames"):
        decoder.extend(heard(torch.zeros(41, CONFIG.dim), 0), decoder.init_memory(1), torch.tensor([0]))
