"""Ten minutes of silence, pushed as fast as they go: no text, and nothing of a stream grows."""

from __future__ import annotations

import ctypes
import gc
import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from benchmarks.whisper_silence import quiet, spelling_numbers
from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.encoder import Positions
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.stream import WhisperStream
from speech.asr.whisper.window import AgreementStream
from speech.audio.mel import WHISPER, WHISPER_STREAMING
from tests.asr.whisper.small import small

RATE = 16000


class Heap(ctypes.Structure):
    """What glibc tells of its heap (`mallinfo2`), bytes."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def in_use() -> tuple[int, int]:
    """Bytes that C and C++ have taken and not given back, tensors among them, and Python's memory blocks."""
    gc.collect()
    try:
        tell = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        pytest.skip("needs the heap's numbers of glibc")
    tell.restype = Heap
    heap = tell()
    return heap.uordblks + heap.hblkhd, sys.getallocatedblocks()


@pytest.mark.parametrize("causal", [True, False])
def test_silence_says_nothing_and_keeps_nothing(causal: bool) -> None:
    contexts = (Context.causal(50, 50, 200),) if causal else (Context.windows(200),)
    mel = replace(WHISPER_STREAMING if causal else WHISPER, features=10)
    config = WhisperConfig(mel, 12, 1, 2, 1, 2, positions=200, tokens=64, contexts=contexts)
    stream = WhisperRecogniser(small(config), spelling_numbers(config.vocabulary)).stream(RATE)
    minute, sizes, taken = quiet(RATE), [], []
    for _ in range(10):
        assert [event for part in np.split(minute, 12) for event in stream.push(part)] == []
        sizes.append(len(stream.snapshot()))
        taken.append(in_use())
    assert max(sizes) - min(sizes) < 40_000  # half a second of sound, and numbers that are longer or shorter
    (early, objects), (late, more) = taken[1], taken[-1]
    assert late - early < 200_000 and more - objects < 300
    if isinstance(stream, WhisperStream):
        assert stream._held is not None and len(stream._held) <= 20 and stream._since is None
        where = stream.setup.pipeline.get_submodule("encoder.positions")
        assert isinstance(where, Positions) and int(where.position(torch.tensor(10**9))) < 200
    else:
        assert isinstance(stream, AgreementStream) and len(stream._samples()) <= RATE
    assert stream.flush() == [] and stream.duration == 600
