"""HiFT: a source-filter vocoder that shapes sines and noise into the spectra of speech (Li et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn

from speech.streaming.conv import ConvTranspose1d
from speech.streaming.frames import Frames
from speech.streaming.module import Delay, Device, Pointwise, Sequential, State, Streaming
from speech.streaming.resample import Repeat
from speech.streaming.spectral import ISTFT
from speech.vocoder.layers import DenseConv1d, ReflectionPad, Spectrum, context, polar
from speech.vocoder.resblock import ResBlock, ResBlocks
from speech.vocoder.source import F0Predictor, Source, SourceConfig


@dataclass(frozen=True)
class HiFTConfig:
    """The vocoder of CosyVoice 2 by default (Du et al. 2024, arXiv 2412.10117).

    sample_rate: Hz. features: mel bins. dim: channels after the first convolution, halved in every stage.
    up_rates, up_kernels: of the stages. n_fft, stft_hop: of the spectra that are put in and out, samples at the output
    rate. kernels, dilations: of the residual blocks; source_kernels: of those on the source's spectrum.
    slope: of the leaky ReLUs. limit: samples are cut at +-limit.

    causal: as in CosyVoice 3, convolutions see the past alone, but for the first ones on the mel frames and for f0,
    which look `pre_look_ahead` and `f0_look_ahead` frames ahead: 81 ms in all. Otherwise they are centred and run with
    delay: 405 ms.
    """

    sample_rate: int = 24000
    features: int = 80
    dim: int = 512
    up_rates: tuple[int, ...] = (8, 5, 3)
    up_kernels: tuple[int, ...] = (16, 11, 7)
    n_fft: int = 16
    stft_hop: int = 4
    kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)
    source_kernels: tuple[int, ...] = (7, 7, 11)
    slope: float = 0.1
    limit: float = 0.99
    f0_dim: int = 512
    source: SourceConfig = field(default_factory=SourceConfig)
    causal: bool = False
    pre_look_ahead: int = 4
    f0_look_ahead: int = 3

    def __post_init__(self) -> None:
        if not len(self.up_rates) == len(self.up_kernels) == len(self.source_kernels):
            raise ValueError(
                f"expected up_rates, up_kernels and source_kernels for the same stages, got {len(self.up_rates)}, "
                f"{len(self.up_kernels)} and {len(self.source_kernels)}"
            )
        beyond = [kernel - rate for kernel, rate in zip(self.up_kernels, self.up_rates, strict=True)]
        if not self.causal and any(n < 0 or n % 2 for n in beyond):
            raise ValueError(
                f"expected up_kernels that exceed up_rates by even numbers, got {self.up_kernels} and {self.up_rates}"
            )

    @property
    def hop(self) -> int:
        """Samples of a mel frame."""
        return prod(self.up_rates) * self.stft_hop


class Stage(nn.Module):
    """One stage of the body: up-sampling, the source's spectrum added, residual blocks.

    phases: where the chunks of its two inputs begin when those of the mel frames begin at 0. What comes early waits:
    the source as a spectrum, which is the narrowest it gets.
    """

    def __init__(self, config: HiFTConfig, index: int, phases: tuple[int, int]) -> None:
        super().__init__()
        dim, bins = config.dim >> (index + 1), config.n_fft + 2
        stride = prod(config.up_rates[index + 1 :])
        up = {"act": nn.LeakyReLU(config.slope), **_up_sampling(config, index)}
        if index == len(config.up_rates) - 1:  # the source has one spectrum more than there are frames
            up["pad"] = ReflectionPad(1, 0, (dim,))
        down = {
            "conv": _down_sampling(bins, dim, stride, causal=config.causal),
            "block": ResBlock(dim, config.source_kernels[index], config.dilations, causal=config.causal),
        }
        early = Sequential(**down).first(phases[1]) - Sequential(**up).first(phases[0])
        self.up = Sequential(**up, wait=Delay(dim, max(-early, 0)))
        self.source = Sequential(wait=Delay(bins, max(early, 0) * stride), **down)
        self.blocks = ResBlocks(dim, config.kernels, config.dilations, causal=config.causal)

    def first(self, start: int) -> int:
        """Index of the first output of a chunk whose frames from the stage before begin at `start`."""
        return self.blocks.first(self.up.first(start))

    def forward(self, x: Frames, spectrum: Frames) -> Frames:
        """Whole signals. x: [b, t, 2 d]; spectrum: [b, n, n_fft + 2] -> [b, t * rate, d]."""
        x = self.up(x)
        return self.blocks(x.like(x.data + self.source(spectrum).data))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """As of a `Streaming` module."""
        parts = {"up": self.up, "source": self.source, "blocks": self.blocks}
        return {name: part.init_state(slots, device, dtype) for name, part in parts.items()}

    def step(self, x: Frames, spectrum: Frames, state: State, slots: Tensor) -> Frames:
        """One chunk of both inputs, of the same mel frames."""
        x = self.up.step(x, state["up"], slots)
        added = self.source.step(spectrum, state["source"], slots)
        return self.blocks.step(x.like(x.data + added.data), state["blocks"], slots)


class Body(nn.Module):
    """The filter: mel frames and source samples to speech.

    Mel frames pass several stages of up-sampling, each of which adds the source's spectrum; out comes a spectrum again,
    of which the inverse transform makes samples. source_first: index of the first source sample that comes with mel
    frame 0.
    """

    def __init__(self, config: HiFTConfig, source_first: int) -> None:
        super().__init__()
        edge = config.n_fft // 2
        self.spectrum = Sequential(pad=ReflectionPad(edge, edge), dft=Spectrum(config.n_fft, config.stft_hop))
        self.mel = DenseConv1d(config.features, config.dim, *((0, config.pre_look_ahead) if config.causal else (3, 3)))
        first, spectrum, stages = self.mel.first(0), self.spectrum.first(source_first), []
        for index in range(len(config.up_rates)):
            stages.append(Stage(config, index, (first, spectrum)))
            first = stages[-1].first(first)
        self.stages = nn.ModuleList(stages)
        self.head = Sequential(
            act=nn.LeakyReLU(0.01),
            conv=DenseConv1d(config.dim >> len(stages), config.n_fft + 2, *context(7, causal=config.causal)),
            spectra=Pointwise(spectra),
            istft=ISTFT(config.n_fft, config.stft_hop),
            limit=nn.Hardtanh(-config.limit, config.limit),
        )

    def first(self, start: int) -> int:
        """Index of the first sample of a chunk whose mel frames begin at `start`."""
        first = self.mel.first(start)
        for stage in self._stages():
            first = stage.first(first)
        return self.head.first(first)

    def forward(self, mel: Frames, source: Frames) -> Frames:
        """Whole signals. mel: [b, t, features]; source: [b, t * hop] -> samples [b, t * hop]."""
        x, spectrum = self.mel(mel), self.spectrum(source)
        for stage in self._stages():
            x = stage(x, spectrum)
        return self.head(x)

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        """As of a `Streaming` module."""
        parts = {"mel": self.mel, "spectrum": self.spectrum, "head": self.head}
        parts |= {f"stage{i}": stage for i, stage in enumerate(self._stages())}
        return {name: part.init_state(slots, device, dtype) for name, part in parts.items()}

    def step(self, mel: Frames, source: Frames, state: State, slots: Tensor) -> Frames:
        """One chunk. mel: [b, t, features]; source: [b, t * hop], as they come together -> samples [b, t * hop]."""
        x = self.mel.step(mel, state["mel"], slots)
        spectrum = self.spectrum.step(source, state["spectrum"], slots)
        for i, stage in enumerate(self._stages()):
            x = stage.step(x, spectrum, state[f"stage{i}"], slots)
        return self.head.step(x, state["head"], slots)

    def _stages(self) -> list[Stage]:
        return list(self.stages)  # type: ignore[arg-type]


class HiFT(Streaming):
    """Mel frames to samples by harmonic sines, noise and a filter. mel: [b, t, features] -> [b, t * hop].

    In three parts: `f0` (mel -> Hz per frame), `source` (f0 -> samples) and `body` (mel, source -> samples).
    """

    def __init__(self, config: HiFTConfig) -> None:
        super().__init__()
        self.config, self.sample_rate, self.hop = config, config.sample_rate, config.hop
        self.f0 = F0Predictor(config.features, config.f0_dim, causal=config.causal, look_ahead=config.f0_look_ahead)
        self.source = Source(config.source, config.sample_rate, config.hop)
        self.body = Body(config, self.source.first(self.f0.first(0)))
        self.up = config.hop
        self.look_ahead = -(self.body.first(0) // config.hop)

    def first(self, start: int) -> int:
        return self.body.first(start)

    def forward(self, frames: Frames) -> Frames:
        return self.body(frames, self.source(self.f0(frames)))

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        parts = {"f0": self.f0, "source": self.source, "body": self.body}
        return {name: part.init_state(slots, device, dtype) for name, part in parts.items()}

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        f0 = self.f0.step(frames, state["f0"], slots)
        source = self.source.step(f0, state["source"], slots)
        return self.body.step(frames, source, state["body"], slots)


def spectra(x: Tensor) -> Tensor:
    """The output of the last convolution as spectra: the sines of its second half are the angles.

    [b, t, 2 f] -> [b, t, f, 2].
    """
    log_magnitude, phase = x.chunk(2, -1)
    return polar(log_magnitude, phase.sin())


def _up_sampling(config: HiFTConfig, index: int) -> dict[str, nn.Module]:
    """The layers that bring stage `index` to its rate: transposed, or (causal) repeated frames and a convolution."""
    rate, kernel, dim = config.up_rates[index], config.up_kernels[index], config.dim >> index
    if config.causal:
        return {"repeat": Repeat(rate), "conv": DenseConv1d(dim, dim // 2, kernel - 1)}
    return {"conv": ConvTranspose1d(dim, dim // 2, kernel, stride=rate, trim=(kernel - rate) // 2)}


def _down_sampling(bins: int, dim: int, stride: int, *, causal: bool) -> DenseConv1d:
    """The convolution that brings the source's spectrum to the rate of a stage."""
    if stride == 1:
        return DenseConv1d(bins, dim, 0)
    left = stride - 1 if causal else stride // 2
    return DenseConv1d(bins, dim, left, 2 * stride - 1 - left, stride=stride, tail=0 if causal else stride // 2)
