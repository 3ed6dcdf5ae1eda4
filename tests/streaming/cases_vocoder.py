"""The vocoders and their parts, small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from speech.vocoder.hift import HiFT, HiFTConfig
from speech.vocoder.layers import ReflectionPad, Spectrum
from speech.vocoder.resblock import ResBlock, ResBlocks
from speech.vocoder.source import F0Predictor, Source, SourceConfig
from speech.vocoder.vocos import Vocos, VocosConfig
from tests.streaming.case import Case, D

SOURCE = SourceConfig(harmonics=3, amplitude=0.5, voiced_above=0.05)
HIFT = HiFTConfig(
    sample_rate=16,  # random weights predict an f0 of some tenths of a hertz
    features=4,
    dim=16,
    up_rates=(2, 3),
    up_kernels=(4, 5),
    n_fft=8,
    stft_hop=2,
    kernels=(3, 5),
    dilations=(1, 2),
    source_kernels=(3, 5),
    f0_dim=8,
    source=SOURCE,
)
VOCOS = VocosConfig(features=4, dim=8, hidden=12, layers=2, kernel=5, n_fft=16, hop=4)


def _parts() -> Iterator[tuple[str, Case]]:
    yield "reflection pad", Case(partial(ReflectionPad, 3, 2), (), tight=False)  # only the mirrored start is waited for
    yield "reflection pad left", Case(partial(ReflectionPad, 1, 0, (D,)), tight=False)
    yield "spectrum", Case(partial(Spectrum, 8, 2), (), longest=80, tight=False)  # the window starts at zero
    for causal in (True, False):
        yield f"residual block causal={causal}", Case(partial(ResBlock, D, 5, (1, 3), causal=causal))
        yield f"residual blocks causal={causal}", Case(partial(ResBlocks, D, (3, 7), (1, 2), causal=causal))
        yield f"f0 causal={causal}", Case(partial(F0Predictor, D, 8, causal=causal, look_ahead=2))
    for phase in ("linear", "nearest", "integral"):
        yield (
            f"source {phase}",
            Case(partial(Source, replace(SOURCE, phase=phase), 16, 12), (), tight=phase != "linear"),
        )
    yield "source without noise", Case(partial(Source, replace(SOURCE, noise="none"), 16, 12), (), tight=False)


def _whole() -> Iterator[tuple[str, Case]]:
    causal = replace(HIFT, causal=True, pre_look_ahead=2, f0_look_ahead=3, up_kernels=(4, 7))
    configs = {
        "hift": HIFT,
        "hift causal": replace(causal, source=replace(SOURCE, phase="nearest", noise="uniform")),
        "hift causal, early f0": replace(causal, f0_look_ahead=0, source=replace(SOURCE, phase="integral")),
    }
    for name, config in configs.items():
        yield name, Case(partial(HiFT, config), (HIFT.features,), tight=False)
    for name, config in {"vocos": VOCOS, "vocos causal": replace(VOCOS, causal=True)}.items():
        yield name, Case(partial(Vocos, config), (VOCOS.features,), tight=False)


CASES: dict[str, Case] = {name: case for group in (_parts, _whole) for name, case in group()}
