"""Streaming log-mel features that equal the whole-signal ones: one front end, many published definitions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from speech.audio.filterbank import MelScale, WindowShape, analysis_window, mel_bank
from speech.errors import SpeechError
from speech.kernels.log_mel import log_mel
from speech.streaming.frames import Frames, Place
from speech.streaming.module import Count, State, Streaming, shift

Edges = Literal["zero", "reflect", "snip"]


@dataclass(frozen=True)
class MelConfig:
    """A definition of log-mel features. Defaults: NeMo's streaming FastConformer front end.

    Framing: frame k covers the samples `k * hop - lead .. k * hop - lead + window - 1`; a signal of n samples has
    n // hop frames, one more with `last_frame` (as `torch.stft(center=True)`). Beyond the ends of the signal lie zeros
    ("zero") or its mirror image ("reflect": the edge sample is not repeated; zeros where the signal is shorter than the
    mirror reaches). With "snip" there are only the frames that lie within the signal, and `lead` is 0.

    Samples: `y[i] = x[i] - pre_emphasis * x[i - 1]` along the signal, or with `per_frame` within every frame after the
    frame's mean is taken off (Kaldi); all is multiplied by `gain`.

    Level: power spectrum, or `sqrt(power + magnitude)`; filter bank between `low` and `high` Hz; natural logarithm of
    the value plus `floor` (`guard="add"`) or of the value but at least `floor` ("clamp"); times `slope`, plus `offset`.
    Then at least the loudest value less `dynamic_range`: the loudest so far (`peak="running"`) or of the whole signal
    ("whole", which cannot be streamed); at last held within `clip`.
    """

    sample_rate: int = 16000
    features: int = 80
    n_fft: int = 512
    window: int = 400
    hop: int = 160
    pre_emphasis: float = 0.97
    floor: float = 2.0**-24
    shape: WindowShape = "hann"
    lead: int | None = None  # half a window
    edges: Edges = "zero"
    last_frame: bool = False
    gain: float = 1.0
    per_frame: bool = False
    magnitude: float | None = None
    scale: MelScale = "slaney"
    low: float = 0.0
    high: float | None = None  # half the sample rate
    guard: Literal["add", "clamp"] = "add"
    slope: float = 1.0
    offset: float = 0.0
    dynamic_range: float | None = None
    peak: Literal["running", "whole"] = "running"
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise SpeechError(f"expected a sample rate of at least 1 Hz, got {self.sample_rate}")
        if not 0 < self.hop <= self.window <= self.n_fft:
            raise SpeechError(
                f"expected 0 < hop <= window <= n_fft, got hop {self.hop}, window {self.window}, n_fft {self.n_fft}"
            )
        if self.edges == "snip" and (self.lead or self.last_frame):
            raise SpeechError("expected no lead and no last_frame with edges 'snip': its frames lie within the signal")


NEMO = MelConfig()
"""NeMo, zero padding. Checkpoints from before July 2025 were trained with `replace(NEMO, edges="reflect")`."""

WHISPER = MelConfig(
    n_fft=400,
    pre_emphasis=0.0,
    floor=1e-10,
    shape="hann_periodic",
    edges="reflect",
    guard="clamp",
    slope=0.25 / math.log(10),  # (log10 + 4) / 4
    offset=1.0,
    dynamic_range=2.0,  # 8 powers of ten
    peak="whole",
)
"""Whisper (Radford et al. 2022), offline: its floor hangs on the loudest value of the whole signal."""

WHISPER_STREAMING = replace(WHISPER, peak="running")
"""Whisper for streams, as causal Whisper uses it: the floor hangs on the loudest value so far."""

S3_TOKENIZER = replace(WHISPER, features=128)
"""CosyVoice 2's speech tokenizer."""

KALDI_FBANK = MelConfig(
    floor=2.0**-23,
    shape="povey",
    edges="snip",
    per_frame=True,
    scale="kaldi",
    low=20.0,
    guard="clamp",
)
"""Kaldi's fbank without dither, samples in [-1, 1]: CAM++ speaker vectors."""

WENET_FBANK = replace(KALDI_FBANK, gain=32768.0)
"""Kaldi's fbank of 16-bit sample values: WeNet, and MeanVC's content features."""

COSYVOICE2_MEL = MelConfig(
    sample_rate=24000,
    n_fft=1920,
    window=1920,
    hop=480,
    pre_emphasis=0.0,
    floor=1e-5,
    shape="hann_periodic",
    lead=720,
    edges="reflect",
    magnitude=1e-9,
    high=8000.0,
    guard="clamp",
)
"""The mel that CosyVoice 2's flow makes and its vocoder reads. CosyVoice 3: `replace(COSYVOICE2_MEL, high=None)`."""

MEANVC_MEL = MelConfig(
    n_fft=1024,
    window=640,
    pre_emphasis=0.0,
    floor=10**-5.75,
    shape="hann_periodic",
    edges="reflect",
    last_frame=True,
    magnitude=1e-6,
    guard="clamp",
    slope=40 / 115 / math.log(10),  # decibels less 20, then -115 .. 0 dB to -1 .. 1
    offset=75 / 115,
    clip=(-1.0, 1.0),
)
"""The mel that MeanVC makes, -1 .. 1; its Vocos vocoder reads (mel + 1) / 2."""


class LogMel(Streaming):
    """Samples to log-mel frames by `config`. [b, n] -> [b, total(n), features].

    Always computed in float32 (or float64), under autocast too.
    """

    window: Tensor
    bank: Tensor

    def __init__(self, config: MelConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or NEMO
        self.register_buffer("window", c.gain * analysis_window(c.shape, c.window))
        self.register_buffer("bank", mel_bank(c.sample_rate, c.n_fft, c.features, c.low, c.high, c.scale))
        self.down = c.hop
        self.left = 0 if c.edges == "snip" else c.window // 2 if c.lead is None else c.lead
        right = c.window - self.left - 1
        self.look_ahead, self.past = right, self.left
        if c.edges == "reflect":
            weightless = c.shape != "hamming" and not c.per_frame  # of the first sample of a window
            self.look_ahead = max(right, self.left - 1 if weightless else self.left)
            self.past = max(self.left, right + 2 - (0 if c.last_frame else 2 * c.hop))  # the mirror of the last frame
        self.emphasised = c.pre_emphasis != 0 and not c.per_frame

    def total(self, count: Count) -> Count:
        c = self.config
        extra = c.hop - c.window if c.edges == "snip" else c.hop if c.last_frame else 0
        frames = (count + extra) // c.hop
        return frames * (frames > 0) * (count > 0)

    def forward(self, frames: Frames) -> Frames:
        x = self._samples(frames)
        if self.emphasised:
            x = frames.like(self._emphasise(pad(x, (1, 0)))).zeroed()
        count = self.total(x.shape[1])
        after = max(count - 1, 0) * self.down + self.look_ahead + 1 - x.shape[1]
        x = pad(x, (self.left, max(after, 0)))
        out = self.placed(frames, x.new_empty(0, count)).place
        x = self._mirrored(x, frames.place.start - self.left, frames.place.stop)
        some = replace(out, count=max(count, 1))  # an empty Fourier transform is an error
        y = self._features(self._windows(x, some))[:, :count]
        if (reach := self.config.dynamic_range) is not None:
            y, _ = self._ranged(y, out, y.new_zeros(len(y), 1), reach)
        return Frames(y, out)

    def init_state(
        self, slots: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        if self.config.dynamic_range is not None and self.config.peak == "whole":
            raise SpeechError(
                "expected features that can be streamed, got a floor below the loudest value of the whole signal: "
                "set peak='running' (WHISPER_STREAMING)"
            )
        dtype = torch.promote_types(dtype or torch.float32, torch.float32)
        state = {"tail": torch.zeros(slots, self.past + self.look_ahead, device=device, dtype=dtype)}
        if self.emphasised:
            state["sample"] = torch.zeros(slots, 1, device=device, dtype=dtype)
        if self.config.dynamic_range is not None:
            state["peak"] = torch.zeros(slots, 1, device=device, dtype=dtype)
        return state

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        place = frames.place
        x = self._samples(frames)
        if self.emphasised:
            x = frames.like(self._emphasise(shift(state["sample"], slots, x))).zeroed()
        kept = state["tail"].shape[1]
        seen = self._mirrored(shift(state["tail"], slots, x), place.start - kept, place.stop)
        skip = self.first(place.phase) * self.down - self.left - (place.phase - kept)
        count = frames.data.shape[1] // self.down
        out = self.moved(place, count)
        y = self._features(self._windows(seen[:, skip:], out))
        if (reach := self.config.dynamic_range) is not None:
            y, state["peak"][slots] = self._ranged(y, out, state["peak"][slots], reach)
        return Frames(y, out)

    def _samples(self, frames: Frames) -> Tensor:
        return frames.like(frames.data.to(torch.promote_types(frames.data.dtype, torch.float32))).zeroed()

    def _emphasise(self, x: Tensor) -> Tensor:
        return x[..., 1:] - self.config.pre_emphasis * x[..., :-1]

    def _mirrored(self, x: Tensor, start: Tensor, stop: Tensor) -> Tensor:
        """Samples beyond the ends of a stream that is to be reflected. x: [b, n], of which sample 0 has index `start`.

        A mirror image that does not lie in x stays zero: no frame that is whole by then asks for it.
        """
        if self.config.edges != "reflect":
            return x
        start, stop, n = start[:, None], stop[:, None], x.shape[1]
        index = (start + torch.arange(n, device=x.device)).abs()
        index = torch.where(index < stop, index, 2 * (stop - 1) - index)
        at = index - start
        return x.gather(1, at.clamp(0, n - 1)).masked_fill((index < 0) | (at < 0) | (at >= n), 0.0)

    def _windows(self, x: Tensor, place: Place) -> Tensor:
        """The samples of the frames at `place`, of which the first begins with x. [b, n] -> [b, t, window]."""
        return x.unfold(1, self.config.window, self.config.hop)[:, : place.count]

    def _features(self, x: Tensor) -> Tensor:
        """The samples of frames to log-mel. [b, t, window] -> [b, t, features]."""
        c = self.config
        with torch.autocast(x.device.type, enabled=False):
            if c.per_frame:
                x = x - x.mean(-1, keepdim=True)
                x = self._emphasise(torch.cat([x[..., :1], x], -1))
            window, bank = self.window.to(x.dtype), self.bank.to(x.dtype)
            y = log_mel(x, window, bank, c.n_fft, floor=c.floor, clamp=c.guard == "clamp", magnitude=c.magnitude)
            if (c.slope, c.offset) != (1.0, 0.0):
                y = y * c.slope + c.offset
            return y if c.clip is None else y.clamp(*c.clip)

    def _ranged(self, y: Tensor, place: Place, peak: Tensor, reach: float) -> tuple[Tensor, Tensor]:
        """Lift what lies more than `reach` below the loudest value; also returns that value, [b, 1].

        y: [b, t, features]; peak, [b, 1]: the loudest value of what came before.

        Peaks are counted from the value of silence on, so that a stream's state starts as zero.
        """
        silence = math.log(self.config.floor) * self.config.slope + self.config.offset
        loudest = (y.amax(-1) - silence).masked_fill(~place.valid, 0.0)
        running = torch.cat([peak, loudest], 1).cummax(1).values
        peaks = self._peaks(running[:, 1:], place)
        return torch.maximum(y, (peaks + (silence - reach))[..., None]), running[:, -1:]

    def _peaks(self, running: Tensor, place: Place) -> Tensor:
        """The value below which the floor of each frame hangs; running: [b, t], the loudest up to it."""
        return running if self.config.peak == "running" else running[:, -1:]
