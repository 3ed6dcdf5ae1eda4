"""Convolutions over time whose cache is the tail of what they have seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, pad

from speech.streaming.frames import Frames
from speech.streaming.module import Count, State, Streaming, shift


class _Windowed(Streaming):
    """Timing shared by everything that slides a window of `left` past and `right` future frames with a stride.

    Output j sees the inputs j * stride - left .. j * stride + right. `tail` zeros may follow the last input: the
    right padding of the whole-signal convolution (default: `right`).
    """

    def __init__(self, left: int, right: int, stride: int, tail: int | None) -> None:
        super().__init__()
        if min(left, right) < 0 or stride < 1:
            raise ValueError(f"expected left, right >= 0 and stride >= 1, got left {left}, right {right}, stride {stride}")
        self.left, self.look_ahead, self.down = left, right, stride
        self.tail = right if tail is None else tail

    def total(self, count: Count) -> Count:
        return (count + self.tail - self.look_ahead - 1) // self.down + 1

    def _padded(self, frames: Frames) -> Tensor:
        """Whole signals between the zeros that the convolution may see. [b, t, ...] -> [b, left + t + tail, ...]."""
        x = frames.zeroed()
        after = max(self.tail, self.look_ahead + 1 - x.shape[1])
        return pad(x, (*[0, 0] * (x.dim() - 2), self.left, after))

    def _aligned(self, seen: Tensor, phase: int, count: int) -> Tensor:
        """Of the kept tail and the new chunk, the part whose windows are the chunk's outputs. seen: [b, n + t, ...]."""
        skip = self.first(phase) * self.down + self.look_ahead - phase
        return seen[:, skip : skip + self.left + self.look_ahead + 1 + (count - 1) * self.down]


class Conv1d(_Windowed):
    """1-D convolution, causal (`right=0`), looking ahead, or trained centred and run with delay. x: [b, t, d] -> [b, t', d'].

    The kernel covers `left + right + 1` frames at `dilation` 1; left + right must be a multiple of `dilation`.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        left: int,
        right: int = 0,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        tail: int | None = None,
    ) -> None:
        super().__init__(left, right, stride, tail)
        if (left + right) % dilation:
            raise ValueError(f"expected left + right to be a multiple of dilation {dilation}, got {left} + {right}")
        conv = nn.Conv1d(dim, out_dim, (left + right) // dilation + 1, groups=groups, bias=bias)
        self.weight, self.bias = conv.weight, conv.bias
        self.dim, self.dilation, self.groups = dim, dilation, groups

    def _conv(self, x: Tensor) -> Tensor:
        y = conv1d(x.transpose(1, 2), self.weight, self.bias, self.down, 0, self.dilation, self.groups)
        return y.transpose(1, 2)

    def forward(self, frames: Frames) -> Frames:
        y = self._conv(self._padded(frames))
        return self.placed(frames, y)

    def init_state(self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
        return {"tail": torch.zeros(slots, self.left + self.look_ahead, self.dim, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        count = frames.data.shape[1] // self.down
        seen = shift(state["tail"], slots, frames.zeroed())
        y = self._conv(self._aligned(seen, frames.place.phase, count))
        return Frames(y, self.moved(frames.place, count))


class Conv2d(_Windowed):
    """2-D convolution over time and frequency, streamed over time. x: [b, t, f, c] -> [b, t', f', c'].

    The kernel covers `left + right + 1` frames and `bands` frequency bins; the frequency axis is padded with
    `below` and `above` zeros and has the same stride as time. Channels lie last, which is the memory order that CPU
    and GPU convolutions prefer.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        left: int,
        right: int = 0,
        *,
        bins: int,
        bands: int = 3,
        below: int = 1,
        above: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
        tail: int | None = None,
    ) -> None:
        super().__init__(left, right, stride, tail)
        conv = nn.Conv2d(channels, out_channels, (left + right + 1, bands), groups=groups, bias=bias)
        self.weight, self.bias = conv.weight, conv.bias
        self.channels, self.bins, self.below, self.above, self.groups = channels, bins, below, above, groups
        self.out_bins = (bins + below + above - bands) // stride + 1

    def _conv(self, x: Tensor) -> Tensor:
        x = pad(x, (0, 0, self.below, self.above)).permute(0, 3, 1, 2)  # [b, c, t, f], still channels last in memory
        y = conv2d(x, self.weight, self.bias, self.down, groups=self.groups)
        return y.permute(0, 2, 3, 1)

    def forward(self, frames: Frames) -> Frames:
        y = self._conv(self._padded(frames))
        return self.placed(frames, y)

    def init_state(self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
        shape = (slots, self.left + self.look_ahead, self.bins, self.channels)
        return {"tail": torch.zeros(shape, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        count = frames.data.shape[1] // self.down
        seen = shift(state["tail"], slots, frames.zeroed())
        y = self._conv(self._aligned(seen, frames.place.phase, count))
        return Frames(y, self.moved(frames.place, count))
