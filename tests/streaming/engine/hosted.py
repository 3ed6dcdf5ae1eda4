"""Every model that an engine hosts, small and untrained, and which of its steps a CUDA graph can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from benchmarks.engine.untrained import Numbers
from speech.asr.recogniser import Recogniser
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.streaming.engine.host import Host
from speech.tts.synthesiser import Synthesiser
from speech.vc.converter import Converter
from tests.asr.small import PIECES, small_model
from tests.asr.whisper.toy import counter, letter_tokenizer
from tests.tts.small import small_synthesiser
from tests.vc.small import small_converter

CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="it needs a CUDA device")


@dataclass(frozen=True)
class Model:
    """A model by the host that it makes on a device.

    steps: the regular ones by their names, and whether a graph can hold them: the work of other decoders depends on
    what they decode.
    """

    host: Callable[[torch.device], Host]
    steps: Mapping[str, bool]


def recogniser(device: torch.device) -> Recogniser:
    """One whose tokens are numbers."""
    return Recogniser(small_model(), Numbers(PIECES), device=device)


def _whisper(device: torch.device, *, causal: bool) -> Host:
    with TemporaryDirectory() as folder:
        tokenizer = letter_tokenizer(Path(folder))
    chunk = None if causal else 300
    return WhisperRecogniser(counter(causal), tokenizer, chunk=chunk, device=device).host(1)


def synthesiser(device: torch.device, drafts: int = 0) -> Synthesiser:
    """One that guesses so many ids ahead; its voices are `plain` and `prompted`."""
    small = small_synthesiser(draft_heads=drafts, drafts=drafts)
    return Synthesiser(small.model.to(device), small.reader, dict(small._voices), codes=small._setup.sampling)


def _heard(device: torch.device) -> Host:
    """A synthesiser that drafts and does not know when its words are said, and what listens to it."""
    voice = synthesiser(device, 2)
    voice.model.config = replace(voice.model.config, text="pairs")
    return voice.host(1, recogniser(device))


def converter(device: torch.device, *, second: bool = False) -> Converter:
    """Version 1 or 2; its targets are `anna` and `ben`."""
    small = small_converter(second=second)
    return Converter(small.model.to(device), dict(small._voices))


SOUND = {"flow, looking ahead": True, "flow": True, "vocoder": True}

MODELS = {
    "fastconformer": Model(lambda device: recogniser(device).host(1), {"encoder": True, "decoder": True}),
    "fastconformer, ctc": Model(
        lambda device: recogniser(device).host(1, decoder="ctc"), {"encoder": True, "decoder": False}
    ),
    "whisper, causal": Model(lambda device: _whisper(device, causal=True), {"encoder": True, "decoder": False}),
    "whisper, in windows": Model(lambda device: _whisper(device, causal=False), {"look": False}),
    "synthesiser": Model(lambda device: synthesiser(device).host(1), {"language model": True, **SOUND}),
    "synthesiser, heard": Model(
        _heard, {"language model": True, "draft head 1": True, "draft head 2": True, **SOUND, "aligner": True}
    ),
    "converter": Model(lambda device: converter(device).host(1), {"conversion": True}),
    "converter, second": Model(lambda device: converter(device, second=True).host(1), {"conversion": True}),
}
