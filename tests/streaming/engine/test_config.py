"""Settings of an engine."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from speech.errors import SpeechError
from speech.streaming.engine.config import EngineConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("tick", x) for x in (-0.1, math.nan, math.inf, "1", None)],
        *[("buckets", x) for x in ((), (2, 4), (1, 4, 4), (1, 4, 2), (1, 2.5), (1, "2"), [1, 2], 4)],
        *[("most_load", x) for x in (0, math.nan, "1")],
        *[("park_after", x) for x in (-1, math.nan)],
        *[("results", x) for x in (0, 2.5, True)],
        *[("undo", x) for x in (-1, 1.5)],
        ("graphs", "no"),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: Any) -> None:
    with pytest.raises(SpeechError, match=f"^expected {name} to be .*, got {re.escape(repr(value))}: correct it$"):
        EngineConfig(**{name: value})


def test_settings_may_be_any_numbers() -> None:
    config = EngineConfig(tick=0, most_load=math.inf, park_after=math.inf, buckets=(1, 5), undo=0)
    assert config.bucket(2) == 5
