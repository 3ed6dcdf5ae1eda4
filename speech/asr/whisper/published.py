"""The front end of published causal Whispers, with the quirks that their weights have learnt from."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from speech.audio.mel import LogMel, MelConfig
from speech.streaming.frames import Place
from speech.streaming.module import Device, State

EXTRA = 2
"""Frames that the first piece has more than the others: what the convolutions behind look ahead."""


class PieceMel(LogMel):
    """Samples to log-mel frames as the code that was published with arXiv 2508.12301 has them.

    [b, n] -> [b, total(n), features]. That code computes the features of one piece of sound after another, and where
    pieces end shows in two ways:

    * The frames of the first piece begin one sample before Whisper's, `160 k - 201`; all later ones `160 k - 200`.
    * The floor of a frame hangs on the loudest value up to the end of its piece, not up to the frame itself.

    So every frame waits for its piece to be complete, 10 ms more than `LogMel` asks of a stream. What lies behind the
    last whole piece that code leaves out; here it makes frames, as every end of a stream does.

    config: of Whisper with a running peak. frames: of a piece, one chunk of the encoder; the first has `EXTRA` more,
    and a stream's first step must bring it whole, as the encoder's initial block asks anyway.
    """

    def __init__(self, config: MelConfig, frames: int) -> None:
        super().__init__(replace(config, lead=config.window // 2 + 1))
        self.frames = frames

    @property
    def grain(self) -> int:
        return self.frames * self.down

    def first(self, start: int) -> int:
        """Where the piece that holds the first frame begins, since its frames wait for one another."""
        return (super().first(start) - EXTRA) // self.frames * self.frames + EXTRA

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        state = super().init_state(slots, device, dtype)
        tail = state["tail"]
        waiting = (self.frames - 1) * self.down
        return state | {"tail": tail.new_zeros(slots, tail.shape[1] + waiting)}

    def _windows(self, x: Tensor, place: Place) -> Tensor:
        early = (place.index < self.frames + EXTRA)[..., None]
        return torch.where(early, super()._windows(x, place), super()._windows(x[:, 1:], place))

    def _peaks(self, running: Tensor, place: Place) -> Tensor:
        piece = torch.div(place.index - EXTRA, self.frames, rounding_mode="floor").clamp(min=0)
        last = (piece + 1) * self.frames + EXTRA - 1 - place.index[:, :1]
        return running.gather(1, last.clamp(max=running.shape[1] - 1))
