"""The language model as lanes step it: rows in, decoder states and scores of what follows out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speech.streaming.arena import home_of
from speech.streaming.frames import Frames, Place
from speech.streaming.lane import Lane
from speech.streaming.module import Device, State
from speech.tts.lm import TextSpeechLM
from speech.tts.sampling import SamplingConfig


class Scoring:
    """Decoder and head. last: of how many rows at the end of a step the head says what follows."""

    captured = True

    def __init__(self, lm: TextSpeechLM, last: int) -> None:
        self.lm, self.last = lm, last

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """The decoder's."""
        return self.lm.decoder.init_state(slots, device, dtype)

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        """frames: rows [b, t, k] int64 -> [b, n, d + outputs], n the lesser of t and `last`: see `parted`."""
        place = frames.place
        states = self.lm.step_states(frames.data, place.start, state, slots)[:, -self.last :]
        n = states.shape[1]
        place = Place(place.start + (place.count - n), place.stop, n, place.phase)
        return Frames(torch.cat([states, self.lm.head(states)], -1), place)


class Guessing:
    """A draft head, one of the model's `drafts`, and the head. It keeps nothing of a stream."""

    captured = True

    def __init__(self, lm: TextSpeechLM, draft: nn.Module) -> None:
        self.lm, self.draft = lm, draft

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """None at all."""
        return {}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        """frames: [b, 2, d], a state and the embedded row after it -> [b, 1, d + outputs]: see `parted`."""
        states = self.draft(frames.data[:, :1], frames.data[:, 1:])
        place = Place(frames.place.start + 1, frames.place.stop, 1, frames.place.phase)
        return Frames(torch.cat([states, self.lm.head(states)], -1), place)


def parted(lm: TextSpeechLM, answer: Tensor) -> tuple[Tensor, Tensor]:
    """What a step gave a stream, [n, d + outputs]: states [n, d], and their scores [n, outputs] in float32, on the CPU.

    Choosing an id takes many small operations, for which a card is slow.
    """
    states, scores = answer.split([lm.config.decoder.dim, lm.config.vocabulary.outputs], -1)
    return states, scores.float().cpu()


def code_lanes(lm: TextSpeechLM, sampling: SamplingConfig, slots: int = 1) -> list[Lane]:
    """Where streams of codes step that choose ids in this way: the decoder, and every draft head that they ask.

    Raises SpeechError for drafts that the model has no heads for.
    """
    lm.config.check(sampling)
    device, dtype = home_of(lm.decoder)
    verified = sampling.drafts if sampling.accept is None else 0
    steps = [Scoring(lm, 1 + verified), *(Guessing(lm, head) for head in [*lm.drafts][: sampling.drafts])]
    answers = device if sampling.drafts else "cpu"  # where ids are chosen; but drafts go on with the states
    return [Lane(step, slots, device=device, dtype=dtype, answers=answers) for step in steps]
