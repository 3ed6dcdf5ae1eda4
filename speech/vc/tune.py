"""How high a voice is, taken out of its tune, so that the source's pitch does not come through."""

from __future__ import annotations

import torch
from torch import Tensor

from speech.content.encoder import TUNE
from speech.streaming.frames import Frames
from speech.streaming.module import Device, State, Streaming

FEW = 2.0
"""Voiced frames, as many as which nothing heard yet counts."""


class CentredTune(Streaming):
    """The content "said" with f0 less its mean so far, where there is a voice. [b, t, content] -> [b, t, content].

    A causal encoder cannot know at once how high a voice is for its speaker, and what it calls a speaker's mean follows
    his pitch. With m the mean of f0 weighted by voicing v, f0 v becomes (f0 - m) v. memory: voiced frames after which
    what came before is forgotten exponentially.
    """

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, frames: Frames) -> Frames:
        sums = frames.data.new_zeros(len(frames.data), 2, dtype=torch.float32)
        return frames.like(self._centred(frames.zeroed(), sums)[0])

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"sums": torch.zeros(slots, 2, device=device)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        data, state["sums"][slots] = self._centred(frames.zeroed(), state["sums"][slots])
        return frames.like(data)

    def _centred(self, x: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """x: [b, t, content]; sums: [b, 2] of f0 v and of v over the frames before, and with these frames."""
        f0, voicing = x[..., -TUNE : -TUNE + 2].float().split(1, -1)
        voicing, means = voicing.clamp(min=0), []
        for now in torch.cat([f0, voicing], -1).unbind(1):
            sums = sums + now
            sums = sums * (self.memory / sums[:, 1:].clamp(min=self.memory))
            means.append(sums[:, :1] / (sums[:, 1:] + FEW))
        if means:
            f0 = (f0 - torch.stack(means, 1) * voicing).to(x)
            x = torch.cat([x[..., :-TUNE], f0, x[..., -TUNE + 1 :]], -1)
        return x, sums
