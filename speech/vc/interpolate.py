"""Features at a low rate to frames at a higher one, on straight lines between them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.streaming.frames import Frames, Place
from speech.streaming.module import Device, State, Streaming, shift


class Interpolate(Streaming):
    """Each frame and `times` - 1 before it, on the straight line from the frame before. [b, t, d] -> [b, t * times, d].

    Output times * j + times - 1 is input j, so nothing is waited for; the first frame is held backwards. In chunks
    this is interpolation with aligned corners over [last frame of the chunk before | chunk], its first point dropped.
    """

    def __init__(self, dim: int, times: int) -> None:
        super().__init__()
        self.dim, self.up = dim, times

    def forward(self, frames: Frames) -> Frames:
        return self.placed(frames, self._between(pad(frames.zeroed(), (0, 0, 1, 0)), frames.place))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"tail": torch.zeros(slots, 1, self.dim, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        y = self._between(shift(state["tail"], slots, frames.zeroed()), frames.place)
        return Frames(y, self.moved(frames.place, y.shape[1]))

    def _between(self, seen: Tensor, place: Place) -> Tensor:
        """seen: the frames of `place` and the one before them, [b, 1 + t, d]."""
        x = seen[:, 1:]
        before = torch.where((place.index == 0)[..., None], x, seen[:, :-1])
        share = torch.arange(1, self.up + 1, device=x.device, dtype=x.dtype) / self.up
        return torch.lerp(before[:, :, None], x[:, :, None], share[:, None]).flatten(1, 2)
