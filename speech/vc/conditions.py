"""The target voice as part of a stream's state: streams with targets of their own step as one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.streaming.attention import chosen
from speech.streaming.frames import Frames
from speech.streaming.module import Device, State, Streaming
from speech.vc.timbre import Target, Timbre


class Conditions(Streaming):
    """What the solver is given of content, in the light of each stream's target. [b, t, d] -> [b, t, d + speaker].

    The target lies in the state, where `Target.write` puts it before the first step, and another between any two: what
    comes from then on is in that voice. Until then it is nobody: a speaker vector, keys and values of zeros, all of
    which count. The same holds for whole signals here; those in a voice are `Timbre.conditions`.

    speaker: size of the speaker vector. room: frames of the longest reference, of which shorter ones leave some masked.
    """

    def __init__(self, timbre: Timbre, speaker: int, room: int) -> None:
        super().__init__()
        self.timbre, self.speaker, self.room = timbre, speaker, room

    def forward(self, frames: Frames) -> Frames:
        data = frames.data
        return self.step(frames, self.init_state(1, data.device, data.dtype), frames.place.start.new_zeros(1))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(slots, *shape, device=device, dtype=dtype)

        cells = self.timbre.cells(self.room)
        state = {"speaker": zeros(self.speaker), "keys": zeros(*cells), "values": zeros(*cells)}
        if self.timbre.prompted:
            state["padding"] = torch.zeros(slots, self.room, device=device, dtype=torch.bool)
        return state

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        cells = {name: chosen(cells, slots) for name, cells in state.items()}
        target = Target(cells["speaker"], cells["keys"], cells["values"], cells.get("padding"))
        return frames.like(self.timbre.conditions(frames.data, target))
