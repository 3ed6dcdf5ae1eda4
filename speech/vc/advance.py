"""What is said, back at the time at which it was said: content is known later than it is heard."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from speech.streaming.frames import Frames
from speech.streaming.module import State, Streaming


class Advance(Streaming):
    """Every frame moved `frames` forward in time; zeros follow the last one. [b, t, d] -> [b, t, d].

    A causal encoder hears a sound before it says what it was, so that its frame i speaks of something earlier. Output i
    is input i + `frames`: in a stream nothing is computed, later frames are given earlier places.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.look_ahead = frames

    def forward(self, frames: Frames) -> Frames:
        return frames.like(pad(frames.zeroed(), (0, 0, 0, self.look_ahead))[:, self.look_ahead :])

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        return Frames(frames.zeroed(), self.moved(frames.place, frames.place.count))
