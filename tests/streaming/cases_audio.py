"""The log-mel front ends, small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from speech.audio.mel import COSYVOICE2_MEL, KALDI_FBANK, MEANVC_MEL, NEMO, WHISPER_STREAMING, LogMel
from tests.streaming.case import Case


def _features() -> Iterator[tuple[str, Case]]:
    small = {"features": 6, "n_fft": 32, "window": 20, "hop": 8}
    presets = {"nemo": NEMO, "whisper": WHISPER_STREAMING, "kaldi": KALDI_FBANK, "meanvc": MEANVC_MEL}
    for name, config in presets.items():
        yield f"log-mel {name}", Case(partial(LogMel, replace(config, **small)), (), longest=120, tight=False)
    cosyvoice = replace(COSYVOICE2_MEL, features=6, n_fft=32, window=32, hop=8, lead=12)
    yield "log-mel cosyvoice", Case(partial(LogMel, cosyvoice), (), longest=120, tight=False)


CASES: dict[str, Case] = {name: case for group in (_features,) for name, case in group()}
