from __future__ import annotations

import pytest
import torch

from speech.errors import SpeechError
from speech.streaming.precision import cells_dtype, weights_dtype

CPU, CARD = torch.device("cpu"), torch.device("cuda")


def test_names_mean_dtypes() -> None:
    assert cells_dtype("int8", CPU) == weights_dtype("int8", CPU) == weights_dtype("int8", CARD) == torch.int8
    assert cells_dtype("fp8", CPU) == torch.float8_e4m3fn


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(SpeechError, match="expected int8 or fp8 for numbers of eight bits, got 'int4'"):
        cells_dtype("int4", CPU)
    with pytest.raises(SpeechError, match="expected a CUDA card for weights in fp8, the model is on cpu: take int8"):
        weights_dtype("fp8", CPU)


def test_a_card_without_fp8_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    for dtype_of in (cells_dtype, weights_dtype):
        with pytest.raises(SpeechError, match=r"expected a card of compute capability 8\.9 for fp8, cuda has 8\.6"):
            dtype_of("fp8", CARD)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert weights_dtype("fp8", CARD) == torch.float8_e4m3fn
