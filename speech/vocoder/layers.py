"""Small layers of the vocoders: mirroring the ends, the spectrum of a signal, a spectrum from its head."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d

from speech.streaming.conv import Conv1d, Windowed
from speech.streaming.frames import Frames
from speech.streaming.module import Count, Device, State, Streaming, shift
from speech.streaming.spectral import centred_window


class ReflectionPad(Streaming):
    """Continues the stream by `left` and `right` frames, mirrored at its first and its last frame.

    [b, t, *shape] -> [b, left + t + right, *shape], output left + i being input i. Up to `left` outputs at the start
    are known only when the input they mirror has come, so all are held back by `left`. A stream that is too short to
    be mirrored repeats its first frame.
    """

    def __init__(self, left: int, right: int = 0, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.look_ahead, self.right, self.shape = left, right, shape
        self.kept = 2 * (left + right)  # inputs before a chunk that its outputs may need

    def total(self, count: Count) -> Count:
        outputs = count + self.look_ahead + self.right
        return outputs * (count > 0)

    def _mirrored(self, index: Tensor, stop: Tensor) -> Tensor:
        """The input index of every output. index: [b, t]; stop: [b] inputs of the stream."""
        source, last = (index - self.look_ahead).abs(), stop[:, None] - 1
        return torch.where(source > last, 2 * last - source, source).clamp(min=0)

    def _taken(self, x: Tensor, index: Tensor) -> Tensor:
        """x[b, index[b, t]] with indices beyond x held at its ends. x: [b, n, *shape], index: [b, t]."""
        index = index.clamp(0, x.shape[1] - 1).view(*index.shape, *[1] * len(self.shape))
        return x.gather(1, index.expand(-1, -1, *self.shape))

    def forward(self, frames: Frames) -> Frames:
        b, t = frames.data.shape[:2]
        out = self.placed(frames, frames.data.new_empty(b, t + self.look_ahead + self.right))
        return out.like(self._taken(frames.data, self._mirrored(out.place.index, frames.place.stop)))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"tail": torch.zeros(slots, self.kept, *self.shape, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        seen, place = shift(state["tail"], slots, frames.data), self.moved(frames.place, frames.place.count)
        first = frames.place.start[:, None] - self.kept
        return Frames(self._taken(seen, self._mirrored(place.index, frames.place.stop) - first), place)


class Spectrum(Windowed):
    """Samples to Hann-windowed spectra, real parts and then imaginary parts: [b, n] -> [b, t, n_fft + 2].

    Frame k begins with sample k * hop; nothing is padded. A convolution with sines: the few bins of a vocoder's source
    need no fast transform.
    """

    weight: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__(0, n_fft - 1, hop, tail=0)
        bins, time = torch.arange(n_fft // 2 + 1), torch.arange(n_fft)
        angle = (2 * math.pi / n_fft) * (bins[:, None] * time).remainder(n_fft).double()
        basis = torch.cat([angle.cos(), -angle.sin()]) * centred_window(n_fft, None, hop)
        self.register_buffer("weight", basis.float()[:, None], persistent=False)

    def _spectra(self, x: Tensor) -> Tensor:
        return conv1d(x[:, None], self.weight, stride=self.down).transpose(1, 2)

    def forward(self, frames: Frames) -> Frames:
        return self.placed(frames, self._spectra(self._padded(frames)))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"tail": torch.zeros(slots, self.look_ahead, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        count = frames.place.count // self.down
        seen = shift(state["tail"], slots, frames.zeroed())
        return Frames(self._spectra(self._aligned(seen, frames.place.phase, count)), self.moved(frames.place, count))


class DenseConv1d(Conv1d):
    """A convolution over all channels that, on a CPU, reads and writes frames as they lie. [b, t, d] -> [b, t', d'].

    PyTorch's 1-D convolution first brings frames into the order of channels; its 2-D one takes them as an image one
    pixel high, channels last.
    """

    def _conv(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super()._conv(x)
        image = x[:, None].permute(0, 3, 1, 2)
        y = conv2d(image, self.weight[:, :, None], self.bias, (1, self.down), 0, (1, self.dilation), self.groups)
        return y.permute(0, 2, 3, 1)[:, 0]


def context(kernel: int, dilation: int = 1, *, causal: bool) -> tuple[int, int]:
    """Frames before and after its own that a kernel sees: the past alone, or as many on either side."""
    span = (kernel - 1) * dilation
    return (span, 0) if causal else (span - span // 2, span // 2)


def polar(log_magnitude: Tensor, angle: Tensor) -> Tensor:
    """Spectra from the logarithms of their magnitudes, which stay below 100, and their angles in radians.

    [b, t, f], [b, t, f] -> [b, t, f, 2], real and imaginary part last.
    """
    magnitude = log_magnitude.exp().clamp(max=100)
    return torch.stack([magnitude * angle.cos(), magnitude * angle.sin()], -1)
