"""The streamable layers, small."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from speech.streaming.attention import Attention, Rotary
from speech.streaming.conv import Conv1d, Conv2d, ConvTranspose1d
from speech.streaming.module import Delay, Parallel, Pointwise, Residual, Sequential
from speech.streaming.recurrent import GRU, LSTM, LegendreMemory
from speech.streaming.resample import Repeat, Resample
from speech.streaming.spectral import ISTFT, STFT
from tests.streaming.case import Case, D


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
    shapes: dict[str, dict] = {
        "grouped": {"left": 8, "chunk": 4, "position": "rotary", "kv_heads": 2, "out_bias": False},
        "grouped relative": {"left": 5, "kv_heads": 1},
        "wide heads": {"left": 8, "chunk": 4, "position": "none", "head_dim": 6, "bias": False, "out_bias": True},
        "wide heads ahead": {"left": 4, "right": 2, "head_dim": 4, "sinks": 2},
        "interleaved": {"left": 6, "position": Rotary(1e3, interleaved=True), "qk_norm": True},
        "one turning head": {"left": 8, "chunk": 2, "position": Rotary(interleaved=True, heads=1)},
    }
    for name, options in shapes.items():
        yield f"attention {name}", Case(partial(Attention, 8, 4, **options), (8,))


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
    yield "repeat", Case(partial(Repeat, 3))
    yield "resample samples", Case(partial(Resample, 5, 4, zeros=6), (), longest=120, tight=False)


CASES: dict[str, Case] = {
    name: case for group in (_convolutions, _compositions, _attentions, _signals) for name, case in group()
}
