"""Streaming log-mel features that equal the whole-signal ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.streaming.frames import Frames
from speech.streaming.module import State, Streaming, shift


@dataclass(frozen=True)
class MelConfig:
    """Log-mel features. Defaults: NeMo's streaming FastConformer front end (16 kHz, 25 ms window, 10 ms hop)."""

    sample_rate: int = 16000
    features: int = 80
    n_fft: int = 512
    window: int = 400
    hop: int = 160
    pre_emphasis: float = 0.97
    floor: float = 2.0**-24


class LogMel(Streaming):
    """Samples to log-mel frames. [b, n] -> [b, n / hop, features]; frame k is centred on sample k * hop."""

    window: Tensor
    bank: Tensor

    def __init__(self, config: MelConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or MelConfig()
        self.left, self.look_ahead, self.down = c.window // 2, c.window - c.window // 2 - 1, c.hop
        self.register_buffer("window", torch.hann_window(c.window, periodic=False))
        self.register_buffer("bank", mel_bank(c.sample_rate, c.n_fft, c.features))

    def _features(self, x: Tensor) -> Tensor:
        """Windows of emphasised samples to log-mel. [b, t, window] -> [b, t, features]."""
        power = torch.fft.rfft(x * self.window, self.config.n_fft).abs().square()
        return (power @ self.bank.T + self.config.floor).log()

    def _emphasise(self, x: Tensor) -> Tensor:
        return x[:, 1:] - self.config.pre_emphasis * x[:, :-1]

    def forward(self, frames: Frames) -> Frames:
        x = self._emphasise(pad(frames.zeroed(), (1, 0)))
        x = pad(frames.like(x).zeroed(), (self.left, self.look_ahead + 1))
        y = self._features(x.unfold(1, self.config.window, self.config.hop))
        return self.placed(frames, y[:, : frames.data.shape[1] // self.config.hop])

    def init_state(self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
        n = self.left + self.look_ahead
        return {
            "sample": torch.zeros(slots, 1, device=device, dtype=dtype),
            "tail": torch.zeros(slots, n, device=device, dtype=dtype),
        }

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        count = frames.data.shape[1] // self.down
        x = self._emphasise(shift(state["sample"], slots, frames.zeroed()))
        seen = shift(state["tail"], slots, frames.like(x).zeroed())
        skip = self.first(frames.place.phase) * self.down + self.look_ahead - frames.place.phase
        y = self._features(seen[:, skip:].unfold(1, self.config.window, self.config.hop)[:, :count])
        return Frames(y, self.moved(frames.place, count))


def mel_bank(sample_rate: int, n_fft: int, features: int, low: float = 0.0, high: float | None = None) -> Tensor:
    """Triangular filters on the Slaney mel scale with area normalisation. [features, n_fft / 2 + 1].

    The scale is linear below 1 kHz and logarithmic above (Slaney 1998, Auditory Toolbox), as in `librosa.filters.mel`.
    """
    hz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    edges = torch.linspace(_to_mel(low), _to_mel(high or sample_rate / 2), features + 2, dtype=torch.float64)
    step = torch.log(torch.tensor(6.4, dtype=torch.float64)) / 27
    edges = torch.where(edges < 15, edges * 200 / 3, 1000 * torch.exp(step * (edges - 15)))
    rise = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    bank = torch.minimum(rise, fall).clamp(min=0) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return bank.float()


def _to_mel(hz: float) -> float:
    if hz < 1000:
        return hz * 3 / 200
    return 15 + float(torch.log(torch.tensor(hz / 1000, dtype=torch.float64)) * 27 / torch.log(torch.tensor(6.4, dtype=torch.float64)))
