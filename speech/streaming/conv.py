"""Convolutions over time whose cache is the tail of what they have seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv_transpose1d, pad

from speech.kernels.depthwise import depthwise_conv
from speech.streaming.frames import Frames
from speech.streaming.module import Count, Device, State, Streaming, overlap_add, shift


class Windowed(Streaming):
    """Everything that slides a window of `left` past and `right` future frames with a stride.

    Window j sees the inputs j * stride - left .. j * stride + right, and gives `up` outputs (usually 1). `tail` zeros
    may follow the last input: the right padding of the whole-signal convolution (default: `right`).
    """

    def __init__(self, left: int, right: int, stride: int, tail: int | None) -> None:
        super().__init__()
        if min(left, right) < 0 or stride < 1:
            raise ValueError(
                f"expected left, right >= 0 and stride >= 1, got left {left}, right {right}, stride {stride}"
            )
        self.left, self.look_ahead, self.down = left, right, stride
        self.tail = right if tail is None else tail

    def first(self, start: int) -> int:
        return -((self.look_ahead - start) // self.down) * self.up

    def total(self, count: Count) -> Count:
        windows = (count + self.tail - self.look_ahead - 1) // self.down + 1
        return windows * (windows > 0) * (count > 0) * self.up  # no outputs of padding alone

    def _padded(self, frames: Frames) -> Tensor:
        """Whole signals between the zeros that the convolution may see. [b, t, ...] -> [b, left + t + tail, ...]."""
        x = frames.zeroed()
        after = max(self.tail, self.look_ahead + 1 - x.shape[1])
        return pad(x, (*[0, 0] * (x.dim() - 2), self.left, after))

    def _aligned(self, seen: Tensor, phase: int, count: int) -> Tensor:
        """Of the kept tail and the new chunk, the part whose windows are the chunk's outputs. seen: [b, n + t, ...]."""
        skip = self.first(phase) // self.up * self.down + self.look_ahead - phase
        return seen[:, skip : skip + self.left + self.look_ahead + 1 + (count - 1) * self.down]


class Overlapping(Streaming):
    """Everything that spreads each input over `kernel` outputs and sums where they overlap, `stride` outputs an input.

    Of the full sum, `trim` outputs are cut at the start and `trim_end` (default: `trim`) at the end. An output is final
    when the last input that touches it has come; the partial sums of the others are the state.
    """

    def __init__(self, kernel: int, stride: int, trim: int, trim_end: int | None) -> None:
        super().__init__()
        self.trim, self.trim_end = trim, trim if trim_end is None else trim_end
        self.overlap, self.up, self.look_ahead = kernel - stride, stride, -(-trim // stride)
        if stride < 1 or trim < 0 or not 0 <= self.trim_end <= self.overlap:
            raise ValueError(
                f"expected stride >= 1, trim >= 0 and 0 <= trim_end <= kernel - stride, "
                f"got kernel {kernel}, stride {stride}, trim {trim}, trim_end {self.trim_end}"
            )

    def first(self, start: int) -> int:
        return start * self.up - self.trim

    def total(self, count: Count) -> Count:
        outputs = count * self.up + self.overlap - self.trim - self.trim_end
        return outputs * (outputs > 0) * (count > 0)

    def _trimmed(self, full: Tensor) -> Tensor:
        return full[:, self.trim : full.shape[1] - self.trim_end]


class Conv1d(Windowed):
    """1-D convolution, causal (`right=0`), looking ahead, or trained centred and run with delay.

    x: [b, t, d] -> [b, t', d'].
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
        self.depthwise = dim == out_dim == groups and stride == dilation == 1

    def _conv(self, x: Tensor) -> Tensor:
        y = conv1d(x.transpose(1, 2), self.weight, self.bias, self.down, 0, self.dilation, self.groups)
        return y.transpose(1, 2)

    def forward(self, frames: Frames) -> Frames:
        y = self._conv(self._padded(frames))
        return self.placed(frames, y)

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"tail": torch.zeros(slots, self.left + self.look_ahead, self.dim, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        count = frames.data.shape[1] // self.down
        if self.depthwise:
            y = depthwise_conv(frames.data, frames.place.outside, state["tail"], slots, self.weight, self.bias)
        else:
            y = self._conv(self._aligned(shift(state["tail"], slots, frames.zeroed()), frames.place.phase, count))
        return Frames(y, self.moved(frames.place, count))


class Conv2d(Windowed):
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

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        shape = (slots, self.left + self.look_ahead, self.bins, self.channels)
        return {"tail": torch.zeros(shape, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        count = frames.data.shape[1] // self.down
        seen = shift(state["tail"], slots, frames.zeroed())
        y = self._conv(self._aligned(seen, frames.place.phase, count))
        return Frames(y, self.moved(frames.place, count))


class ConvTranspose1d(Overlapping):
    """Transposed 1-D convolution; weight as in `nn.ConvTranspose1d`. x: [b, t, d] -> [b, t * stride + ..., d'].

    `trim` outputs are cut at both ends, as by `padding=trim`; `trim=0, trim_end=kernel - stride` is causal.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        kernel: int,
        *,
        stride: int = 1,
        trim: int = 0,
        trim_end: int | None = None,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(kernel, stride, trim, trim_end)
        conv = nn.ConvTranspose1d(dim, out_dim, kernel, groups=groups, bias=bias)
        self.weight, self.bias = conv.weight, conv.bias
        self.out_dim, self.groups = out_dim, groups

    def _spread(self, x: Tensor) -> Tensor:
        y = conv_transpose1d(x.transpose(1, 2), self.weight, None, self.up, groups=self.groups)
        return y.transpose(1, 2)

    def _biased(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias

    def forward(self, frames: Frames) -> Frames:
        return self.placed(frames, self._biased(self._trimmed(self._spread(frames.zeroed()))))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"sums": torch.zeros(slots, self.overlap, self.out_dim, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        y = overlap_add(state["sums"], slots, self._spread(frames.zeroed()))
        return Frames(self._biased(y), self.moved(frames.place, y.shape[1]))
