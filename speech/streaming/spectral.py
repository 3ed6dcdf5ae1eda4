"""Short-time Fourier transform and its inverse, chunk by chunk equal to the whole-signal ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.kernels.overlap_add import over_windows, overlap_add, window_sums
from speech.streaming.conv import Overlapping, Windowed
from speech.streaming.frames import Frames
from speech.streaming.module import Device, State, shift


def centred_window(n_fft: int, length: int | None, hop: int) -> Tensor:
    """A periodic Hann window of `length` (default: n_fft) samples amid zeros, [n_fft]."""
    length = n_fft if length is None else length
    if n_fft % 2 or not 1 <= hop <= length <= n_fft:
        raise ValueError(
            f"expected 1 <= hop <= window <= n_fft, n_fft even, got hop {hop}, window {length}, n_fft {n_fft}"
        )
    before = (n_fft - length) // 2
    return pad(torch.hann_window(length), (before, n_fft - length - before))


class STFT(Windowed):
    """Samples to spectra: `torch.stft(center=True, pad_mode="constant")` with a Hann window.

    [b, n] -> [b, n / hop + 1, n_fft / 2 + 1, 2], real and imaginary part last; frame k is centred on sample k * hop.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, window: int | None = None) -> None:
        super().__init__(n_fft // 2, n_fft // 2 - 1, hop, tail=n_fft // 2)
        self.n_fft = n_fft
        self.register_buffer("window", centred_window(n_fft, window, hop))

    def _spectra(self, x: Tensor) -> Tensor:
        return torch.view_as_real(torch.fft.rfft(x.unfold(1, self.n_fft, self.down) * self.window))

    def forward(self, frames: Frames) -> Frames:
        return self.placed(frames, self._spectra(self._padded(frames)))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"tail": torch.zeros(slots, self.left + self.look_ahead, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        count = frames.place.count // self.down
        seen = shift(state["tail"], slots, frames.zeroed())
        return Frames(self._spectra(self._aligned(seen, frames.place.phase, count)), self.moved(frames.place, count))


class ISTFT(Overlapping):
    """Spectra to samples by overlap-add: `torch.istft(center=True)` with a Hann window.

    [b, t, n_fft / 2 + 1, 2] -> [b, (t - 1) * hop]. The sum is divided by the sum of the squared windows of the frames
    that the stream has, which are summed beside the samples: so the first and the last samples are exact too.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, window: int | None = None) -> None:
        super().__init__(n_fft, hop, n_fft // 2, n_fft // 2)
        self.n_fft = n_fft
        self.register_buffer("window", centred_window(n_fft, window, hop))

    def _samples(self, frames: Frames) -> Tensor:
        """[b, t, f, 2] -> [b, t, n_fft], not windowed yet."""
        return torch.fft.irfft(torch.view_as_complex(frames.zeroed().contiguous()), self.n_fft)

    def forward(self, frames: Frames) -> Frames:
        sums = window_sums(self._samples(frames), frames.place.valid, self.window, self.up)
        return self.placed(frames, over_windows(self._trimmed(sums)))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return {"sums": torch.zeros(slots, self.overlap, 2, device=device, dtype=dtype)}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        y = overlap_add(self._samples(frames), frames.place.valid, self.window, self.up, state["sums"], slots)
        return Frames(y, self.moved(frames.place, y.shape[1]))
