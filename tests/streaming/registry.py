"""Every streamable module of the project, small: the generic tests hold each to the contract.

A new module adds a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import nn

from speech.asr.conformer import ConformerLayer
from speech.asr.encoder import Encoder, EncoderConfig
from speech.asr.model import FastConformer, FastConformerConfig
from speech.asr.subsampling import Subsampling
from speech.audio.mel import COSYVOICE2_MEL, KALDI_FBANK, MEANVC_MEL, NEMO, WHISPER_STREAMING, LogMel, MelConfig
from speech.streaming.attention import Attention
from speech.streaming.conv import Conv1d, Conv2d, ConvTranspose1d
from speech.streaming.module import Delay, Parallel, Pointwise, Residual, Sequential, Streaming
from speech.streaming.recurrent import GRU, LSTM, LegendreMemory
from speech.streaming.resample import Resample
from speech.streaming.spectral import ISTFT, STFT

D = 6  # channels of the small modules


@dataclass(frozen=True)
class Case:
    """A module under test. shape: of one input frame; longest: frames of the longest stream that is drawn.

    Legal chunks are the multiples of the module's `grain`. tight: the declared look-ahead shows in the outputs (not so
    where the weights vanish at the edge of the window).
    """

    build: Callable[[], Streaming]
    shape: tuple[int, ...] = (D,)
    longest: int = 40
    tight: bool = True

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk sizes to draw from, in input frames."""
        grain = self.module.grain
        return (grain, 2 * grain, 3 * grain, 5 * grain) if grain < 16 else (grain, 2 * grain)

    @property
    def module(self) -> Streaming:
        """The module with fixed random weights, in evaluation mode; built once."""
        return _built(self)


@cache
def _built(case: Case) -> Streaming:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = case.build().eval()
        for name, p in [*module.named_parameters(), *module.named_buffers()]:
            if p.dim() == 1 and p.is_floating_point() and name.split(".")[-1] in {"weight", "bias", "running_mean"}:
                nn.init.normal_(p, mean=float(name.endswith("weight")), std=0.3)  # no bias hides by being zero
        for layer in module.modules():
            if isinstance(layer, Attention) and layer.position == "relative":
                nn.init.normal_(layer.u)
                nn.init.normal_(layer.v)
    return module


def _convolutions() -> Iterator[tuple[str, Case]]:
    for name, left, right, options in (
        ("causal", 4, 0, {}),
        ("centred", 2, 2, {}),
        ("ahead only", 0, 3, {}),
        ("pointwise", 0, 0, {}),
        ("dilated", 6, 2, {"dilation": 4}),
        ("grouped", 3, 1, {"groups": D}),
        ("no bias", 3, 1, {"bias": False}),
        ("strided", 2, 1, {"stride": 3}),
        ("strided, short tail", 2, 2, {"stride": 2, "tail": 0}),
        ("strided, long tail", 1, 0, {"stride": 4, "tail": 3}),
    ):
        yield f"conv1d {name}", Case(partial(Conv1d, D, D, left, right, **options))
    yield "conv2d causal", Case(partial(Conv2d, 3, 4, 2, bins=5), (5, 3))
    yield "conv2d strided", Case(partial(Conv2d, 4, 4, 1, 1, bins=6, stride=2, groups=4), (6, 4))
    yield "front end 8x", Case(lambda: _front_end(2, 0, 1))
    yield "front end 8x centred", Case(lambda: _front_end(1, 1, 1))
    for name, kernel, stride, options in (
        ("causal", 7, 3, {"trim_end": 4}),
        ("centred", 8, 4, {"trim": 2}),
        ("whole", 5, 2, {}),
        ("abutting", 3, 3, {}),
        ("long", 11, 2, {"trim": 5, "trim_end": 4, "groups": 2}),
    ):
        yield f"transposed {name}", Case(partial(ConvTranspose1d, D, D, kernel, stride=stride, **options))


def _front_end(left: int, right: int, tail: int) -> Sequential:
    conv = partial(Conv1d, D, D, left, right, stride=2, tail=tail)
    return Sequential(a=conv(), relu=nn.ReLU(), b=conv(), c=conv(), out=Pointwise(nn.Linear(D, D)))


def _compositions() -> Iterator[tuple[str, Case]]:
    conv = partial(Conv1d, D, D)
    yield "delay", Case(lambda: Delay(D, 3), tight=False)
    yield "parallel", Case(lambda: Parallel(D, a=conv(2, 0), b=conv(1, 4), c=conv(3, 2)))
    yield "parallel joined", Case(lambda: Parallel(D, join=torch.mul, a=conv(2, 1), b=Delay(D, 0)))
    yield "parallel strided", Case(lambda: Parallel(D, a=conv(2, 1, stride=2), b=conv(2, 2, stride=2)))
    yield "residual", Case(lambda: Residual(D, Sequential(a=conv(1, 2), b=conv(2, 1)), scale=0.5))
    yield "residual of residuals", Case(lambda: Residual(D, Residual(D, Residual(D, conv(1, 2)))))
    yield "down and up", Case(_hourglass)
    yield "residual down and up", Case(lambda: Residual(D, _hourglass()))
    yield (
        "up and down",
        Case(
            lambda: Sequential(
                thrice=ConvTranspose1d(D, D, 6, stride=3, trim=1, trim_end=2),
                residual=Residual(D, conv(2, 2)),
                halve=conv(3, 1, stride=2),
                more=ConvTranspose1d(D, D, 5, stride=4),
            )
        ),
    )


def _hourglass() -> Sequential:
    return Sequential(
        quarter=Conv1d(D, D, 3, 1, stride=4),
        inner=LSTM(D, D),
        back=ConvTranspose1d(D, D, 8, stride=4, trim=2, trim_end=2),
        last=Conv1d(D, D, 1, 1),
    )


def _attentions() -> Iterator[tuple[str, Case]]:
    windows: dict[str, dict] = {
        "chunk 1": {"left": 5, "chunk": 1},
        "chunk 4": {"left": 8, "chunk": 4},
        "chunk 3 alone": {"left": 0, "chunk": 3},
        "sliding causal": {"left": 7},
        "sliding itself": {"left": 0},
        "sliding ahead": {"left": 6, "right": 3},
        "sliding only ahead": {"left": 0, "right": 2},
        "chunk sinks": {"left": 4, "chunk": 2, "sinks": 3},
        "sliding sinks": {"left": 3, "sinks": 2},
        "sliding ahead sinks": {"left": 3, "right": 2, "sinks": 4},
    }
    for position in ("relative", "rotary", "none"):
        for name, options in windows.items():
            if position == "relative" or name in ("chunk 4", "chunk sinks", "sliding ahead", "sliding ahead sinks"):
                build = partial(Attention, 8, 2, position=position, bias=position != "none", **options)
                yield f"attention {name} {position}", Case(build, (8,))


def _encoder(**changes: object) -> EncoderConfig:
    small = EncoderConfig(
        features=8, dim=8, layers=2, heads=2, ff_expansion=2, subsampling_channels=4, conv_context=(3, 0)
    )
    return replace(small, contexts=((6, 2), (6, 1), (6, 0)), **changes)  # type: ignore[arg-type]


def _recogniser() -> Iterator[tuple[str, Case]]:
    for causal in (True, False):
        yield f"subsampling causal={causal}", Case(partial(Subsampling, 8, 4, D, causal=causal), (8,))
    layer = partial(ConformerLayer, ff_hidden=12, bias=True, dropout=0.0)
    yield (
        "conformer layer",
        Case(lambda: layer(Attention(8, 2, left=6, chunk=3), conv_context=(4, 0), conv_norm="layer_norm"), (8,)),
    )
    yield (
        "conformer layer ahead",
        Case(lambda: layer(Attention(8, 2, left=4, right=2), conv_context=(2, 2), conv_norm="batch_norm"), (8,)),
    )
    configs = {
        "": _encoder(),
        " centred": _encoder(causal_subsampling=False),
        " batch norm": _encoder(conv_norm="batch_norm", bias=False, scale_input=False),
        " sliding": _encoder(chunked=False, conv_context=(2, 1)),
    }
    for name, config in configs.items():
        for context in config.contexts:
            build = partial(_encoder_at, config, context)
            yield f"encoder{name} {context}", Case(build, (8,), longest=120)
    mel = MelConfig(features=8, n_fft=32, window=20, hop=8)
    for context in ((6, 2), (6, 0)):
        build = partial(_pipeline, FastConformerConfig(mel, _encoder(), vocabulary=8, prediction=None), context)
        yield f"fastconformer {context}", Case(build, (), longest=600)


def _encoder_at(config: EncoderConfig, context: tuple[int, int]) -> Streaming:
    return Encoder(config).at(context)


def _pipeline(config: FastConformerConfig, context: tuple[int, int]) -> Streaming:
    return FastConformer(config).pipeline(context)


def _features() -> Iterator[tuple[str, Case]]:
    small = {"features": 6, "n_fft": 32, "window": 20, "hop": 8}
    presets = {"nemo": NEMO, "whisper": WHISPER_STREAMING, "kaldi": KALDI_FBANK, "meanvc": MEANVC_MEL}
    for name, config in presets.items():
        yield f"log-mel {name}", Case(partial(LogMel, replace(config, **small)), (), longest=120, tight=False)
    cosyvoice = replace(COSYVOICE2_MEL, features=6, n_fft=32, window=32, hop=8, lead=12)
    yield "log-mel cosyvoice", Case(partial(LogMel, cosyvoice), (), longest=120, tight=False)


def _signals() -> Iterator[tuple[str, Case]]:
    for layers in (1, 3):
        yield f"lstm {layers}", Case(partial(LSTM, D, 5, layers))
        yield f"gru {layers}", Case(partial(GRU, D, 5, layers, bias=layers == 1))
    yield "legendre memory", Case(partial(LegendreMemory, 2, 5, 8.0), (2,))
    yield "stft", Case(partial(STFT, 16, 4), (), longest=80)
    yield "stft short window", Case(partial(STFT, 16, 5, 12), (), longest=80, tight=False)
    yield "istft", Case(partial(ISTFT, 16, 4), (9, 2), tight=False)
    yield "istft short window", Case(partial(ISTFT, 16, 6, 14), (9, 2), tight=False)
    yield "stft and istft", Case(lambda: Sequential(a=STFT(16, 4), b=ISTFT(16, 4)), (), longest=80, tight=False)
    for rate, new_rate in ((3, 2), (2, 3), (1, 4), (4, 1), (1, 1)):
        yield f"resample {rate}:{new_rate}", Case(partial(Resample, rate, new_rate, zeros=4, dim=2), (2,), tight=False)
    yield "resample samples", Case(partial(Resample, 5, 4, zeros=6), (), longest=120, tight=False)


REGISTRY: dict[str, Case] = {
    name: case
    for group in (_convolutions, _compositions, _attentions, _features, _recogniser, _signals)
    for name, case in group()
}
