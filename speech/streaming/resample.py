"""Rational resampling inside a network, and the plainest up-sampling."""

from __future__ import annotations

from math import ceil, gcd

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from speech.streaming.conv import Windowed
from speech.streaming.frames import Frames
from speech.streaming.module import Count, Device, State, Streaming, shift


class Resample(Windowed):
    """From `rate` to `new_rate` by a polyphase windowed sinc (Smith and Gossett 1984).

    [b, t] -> [b, ceil(t * up / down)], or with `dim` [b, t, dim] -> [b, ceil(t * up / down), dim].
    Output j lies at input time j * down / up. The `up` outputs of `down` inputs are one window of a strided
    convolution, a filter for each. zeros: zero crossings of the sinc on either side; rolloff: cut-off as a share of the
    lower Nyquist frequency. The defaults pass 0.84 of the band within 2e-4 and stop by 80 dB what lies 6 % beyond it.
    """

    weight: Tensor

    def __init__(
        self, rate: int, new_rate: int, *, zeros: int = 24, rolloff: float = 0.95, dim: int | None = None
    ) -> None:
        if min(rate, new_rate, zeros) < 1 or not 0 < rolloff <= 1:
            raise ValueError(
                f"expected rates and zeros >= 1 and rolloff in (0, 1], got {rate}, {new_rate}, {zeros}, {rolloff}"
            )
        up, down = new_rate // gcd(rate, new_rate), rate // gcd(rate, new_rate)
        cutoff = rolloff * min(1.0, up / down)
        half = ceil(zeros / cutoff)
        super().__init__(half, (up - 1) * down // up + half, down, None)
        self.up, self.shape = up, () if dim is None else (dim,)
        self.register_buffer("weight", sinc_filters(up, down, half, cutoff))

    def total(self, count: Count) -> Count:
        return -(-count * self.up // self.down)

    def _filter(self, x: Tensor) -> Tensor:
        """[b, n, *shape] -> [b, windows * up, *shape]."""
        rows = x.movedim(1, -1)
        y = conv1d(rows.reshape(-1, 1, rows.shape[-1]), self.weight, stride=self.down)  # [b * d, up, windows]
        return y.transpose(1, 2).reshape(*rows.shape[:-1], -1).movedim(-1, 1)

    def forward(self, frames: Frames) -> Frames:
        return self.placed(frames, self._filter(self._padded(frames)))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"tail": torch.zeros(slots, self.left + self.look_ahead, *self.shape, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        windows = frames.place.count // self.down
        seen = shift(state["tail"], slots, frames.zeroed())
        y = self._filter(self._aligned(seen, frames.place.phase, windows))
        return Frames(y, self.moved(frames.place, y.shape[1]))


class Repeat(Streaming):
    """Every frame `times` times: nearest-neighbour up-sampling. [b, t, ...] -> [b, t * times, ...]."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.up = times

    def forward(self, frames: Frames) -> Frames:
        return self.placed(frames, frames.data.repeat_interleave(self.up, 1))

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        return Frames(frames.data.repeat_interleave(self.up, 1), self.moved(frames.place, frames.place.count * self.up))


def sinc_filters(up: int, down: int, half: int, cutoff: float, beta: float = 9.0) -> Tensor:
    """Filters [up, 1, taps] for the outputs at times r * down / up, r < up, over the inputs from -half on.

    A sinc of `cutoff` (of the input's Nyquist frequency) under a Kaiser window of `half` inputs on either side, each
    filter scaled to pass a constant unchanged.
    """
    tap = torch.arange(-half, (up - 1) * down // up + half + 1, dtype=torch.float64)
    time = torch.arange(up, dtype=torch.float64)[:, None] * down / up - tap
    window = torch.special.i0(beta * (1 - (time / half).square()).clamp(min=0).sqrt()) * (time.abs() <= half)
    weight = torch.sinc(cutoff * time) * window
    return (weight / weight.sum(1, keepdim=True)).float()[:, None]
