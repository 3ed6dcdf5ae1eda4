"""The source of a source-filter vocoder: fundamental frequency from mel frames, and sines from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from speech.streaming.conv import Conv1d
from speech.streaming.frames import Frames, Place
from speech.streaming.module import Device, Pointwise, Sequential, State, Streaming, shift

NOISE_FRAMES = 128
"""Frames of source noise that are drawn once and go round: 2.6 s of frames of 20 ms, a few MB. Ears notice noise that
repeats within a second or so (Guttman and Julesz 1963), and no sound of speech lasts longer."""


@dataclass(frozen=True)
class SourceConfig:
    """Sines at the multiples of f0, and noise.

    harmonics: sines, the fundamental included. amplitude: of each sine. noise_amplitude: of the noise beside a sine;
    unvoiced frames have noise of amplitude / 3 alone. voiced_above: Hz.

    phase: how the phase, summed up frame by frame, runs between two frames. "linear": from the middle of a frame to
    the middle of the next, which therefore must have come. "nearest": not at all, it jumps from frame to frame.
    "integral": as f0 says, held over each frame; nothing is waited for.

    noise: "gaussian", "uniform" (0 .. 1) or "none".
    """

    harmonics: int = 9
    amplitude: float = 0.1
    noise_amplitude: float = 0.003
    voiced_above: float = 10.0
    phase: Literal["linear", "nearest", "integral"] = "linear"
    noise: Literal["gaussian", "uniform", "none"] = "gaussian"


class PreciseConv1d(Conv1d):
    """A convolution that is computed in float64 outside training, whatever the precision of its weights."""

    def _conv(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype if self.training else torch.float64).transpose(1, 2)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return conv1d(x, self.weight.to(x.dtype), bias).transpose(1, 2)

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return super().init_state(slots, device, torch.float64)


class F0Predictor(Sequential):
    """Fundamental frequency of mel frames: five convolutions and the size of what they find.

    [b, t, features] -> [b, t], Hz, in float64: the phase sums up f0, so that float32's rounding, which differs from
    chunk size to chunk size, would let streams of the same frames drift apart. Centred convolutions; or causal ones, of
    which the first sees `look_ahead` frames to come.
    """

    def __init__(self, features: int, dim: int, *, causal: bool, look_ahead: int) -> None:
        layers: dict[str, nn.Module] = {}
        for i in range(5):
            left, right = (1, 1) if not causal else (2, 0) if i else (0, look_ahead)
            layers[f"conv{i}"] = PreciseConv1d(dim if i else features, dim, left, right)
            layers[f"elu{i}"] = nn.ELU()
        super().__init__(**layers, out=PreciseConv1d(dim, 1, 0), hertz=Pointwise(lambda x: x.abs().squeeze(-1)))


class Source(Streaming):
    """Harmonic sines and noise, merged to one signal. f0 in Hz, [b, t] -> [b, t * hop].

    The neural source-filter model's source (Wang et al. 2019, arXiv 1904.12088) at the rate of frames. The phase is
    summed in cycles modulo 1 in float64 and is carried from chunk to chunk: it never jumps, and is as exact after an
    hour as at the start.

    Noise belongs to the place in the stream, not to the call: sample n of any stream always gets the same, from
    `noise` [frames, harmonics, hop], which goes round; so chunks equal the whole signal and a run can be repeated.
    In training it is drawn anew.
    """

    noise: Tensor | None
    within: Tensor

    def __init__(self, config: SourceConfig, sample_rate: int, hop: int) -> None:
        super().__init__()
        self.config, self.sample_rate, self.up = config, sample_rate, hop
        self.look_ahead = int(config.phase == "linear")
        self.merge = nn.Linear(config.harmonics, 1)
        self.register_buffer("within", self._within(), persistent=False)
        self.register_buffer("noise", self._draw((NOISE_FRAMES,), torch.Generator().manual_seed(0)), persistent=False)

    def _within(self) -> Tensor:
        """How much of a frame's own cycles, and of the next one's, each sample is past the summed phase. [2, hop]."""
        sample = torch.arange(self.up, dtype=torch.float64)
        middle = (sample + 0.5) / self.up - 0.5
        parts = {
            "linear": (middle.clamp(max=0), middle.clamp(min=0)),
            "nearest": (0 * sample, 0 * sample),
            "integral": ((sample + 1) / self.up - 1, 0 * sample),
        }
        return torch.stack(parts[self.config.phase]).float()

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor | None:
        """Noise of amplitude 1, [*shape, harmonics, hop]."""
        draws = {"gaussian": torch.randn, "uniform": torch.rand}
        if self.config.noise == "none":
            return None
        shape = (*shape, self.config.harmonics, self.up)
        return draws[self.config.noise](shape, generator=generator, device=self.within.device).to(self.within.dtype)

    def _noise(self, place: Place) -> Tensor | None:
        """[b, t, harmonics, hop]."""
        if self.training:
            return self._draw((len(place.start), place.count))
        return None if self.noise is None else self.noise[place.index.remainder(len(self.noise))]

    def _cycles(self, f0: Tensor) -> Tensor:
        """Cycles that every sine runs through in each frame. [b, t] -> [b, t, harmonics] float64."""
        harmonic = torch.arange(1, self.config.harmonics + 1, device=f0.device)
        return (f0.double()[..., None] * harmonic / self.sample_rate).remainder(1) * self.up

    def _samples(self, f0: Tensor, start: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """The signal of the frames at `place`, and the phase at its end.

        f0: [b, t + look_ahead]; start: phase before them, [b, harmonics] -> [b, t * hop], [b, harmonics].
        """
        config, count = self.config, place.count
        cycles = self._cycles(f0)
        phase = (start[:, None] + cycles[:, :count].remainder(1).cumsum(1)).remainder(1)
        own, after = cycles[:, :count].float(), cycles[:, self.look_ahead :].float()
        if config.phase == "linear":  # nothing lies before the first frame to come from: its phase is held
            own = own.masked_fill((place.index == 0)[..., None], 0.0)
        at = phase.float()[..., None] + own[..., None] * self.within[0] + after[..., None] * self.within[1]
        weight = self.merge.weight
        voiced = (f0[:, :count] > config.voiced_above).to(weight.dtype)[..., None]
        signal = config.amplitude * voiced * self._merged((2 * torch.pi * at).sin().to(weight.dtype))
        noise = self._noise(place)
        if noise is not None:
            amplitude = config.noise_amplitude * voiced + config.amplitude / 3 * (1 - voiced)
            signal = signal + amplitude * self._merged(noise)
        return (signal + self.merge.bias).tanh().flatten(1), phase[:, -1]

    def _merged(self, x: Tensor) -> Tensor:
        """The weighted sum of the harmonics. [b, t, harmonics, hop] -> [b, t, hop]."""
        return (self.merge.weight @ x).squeeze(-2)

    def forward(self, frames: Frames) -> Frames:
        f0 = pad(frames.zeroed(), (0, self.look_ahead))
        start = torch.zeros(len(f0), self.config.harmonics, dtype=torch.float64, device=f0.device)
        return self.placed(frames, self._samples(f0, start, frames.place)[0])

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        state = {"phase": torch.zeros(slots, self.config.harmonics, dtype=torch.float64, device=device)}
        if self.look_ahead:
            state["tail"] = torch.zeros(slots, self.look_ahead, dtype=torch.float64, device=device)
        return state

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        f0, place, ahead = frames.zeroed(), frames.place, self.look_ahead
        if ahead:
            f0 = shift(state["tail"], slots, f0)
        at = Place(place.start - ahead, place.stop, place.count, place.phase - ahead)
        y, state["phase"][slots] = self._samples(f0, state["phase"][slots], at)
        return Frames(y, self.moved(place, y.shape[1]))
