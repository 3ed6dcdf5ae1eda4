"""The synthesiser's language model, small."""

from __future__ import annotations

from functools import partial

from speech.tts.qwen2 import Qwen2, Qwen2Config
from tests.streaming.case import Case

SMALL = {"dim": 8, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 4, "hidden": 12}

CASES: dict[str, Case] = {
    "qwen2": Case(partial(Qwen2, Qwen2Config(**SMALL, left=9)), (8,)),
    "qwen2 spare": Case(partial(Qwen2, Qwen2Config(**SMALL, left=9), spare=2), (8,)),
    "qwen2 sinks": Case(partial(Qwen2, Qwen2Config(**SMALL, left=4, sinks=2, bias=False)), (8,)),
}
