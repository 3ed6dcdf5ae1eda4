"""Numbers of eight bits by the names that users give them."""

from __future__ import annotations

from typing import Literal

import torch

from speech.errors import SpeechError
from speech.kernels.eight_bits import DTYPES

Kind = Literal["int8", "fp8"]

FP8_SINCE = (8, 9)
"""The first compute capability of NVIDIA cards that convert fp8."""


def cells_dtype(kind: str, device: torch.device) -> torch.dtype:
    """What `Attention` keeps keys and values in. Raises SpeechError for another name, or a card without fp8."""
    if kind not in DTYPES:
        raise SpeechError(f"expected {' or '.join(DTYPES)} for numbers of eight bits, got {kind!r}: choose one of them")
    if kind == "fp8" and device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < FP8_SINCE:
            own, least = (".".join(map(str, pair)) for pair in (capability, FP8_SINCE))
            raise SpeechError(f"expected a card of compute capability {least} for fp8, {device} has {own}: take int8")
    return DTYPES[kind]


def weights_dtype(kind: str, device: torch.device) -> torch.dtype:
    """What `quantise` makes of weights. Raises SpeechError as `cells_dtype`, and for fp8 anywhere but on a card."""
    dtype = cells_dtype(kind, device)
    if kind == "fp8" and device.type != "cuda":
        raise SpeechError(f"expected a CUDA card for weights in fp8, the model is on {device}: take int8")
    return dtype
