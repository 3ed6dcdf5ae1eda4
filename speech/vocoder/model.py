"""The vocoders as one family: mel frames [b, t, features] to samples [b, n], whole or by `step`."""

from __future__ import annotations

from speech.vocoder.hift import HiFT, HiFTConfig
from speech.vocoder.vocos import Vocos, VocosConfig

VocoderConfig = HiFTConfig | VocosConfig
"""Both have `sample_rate` (Hz), `features` (mel bins) and `hop` (samples a mel frame)."""

Vocoder = HiFT | Vocos
"""Both are `Streaming` and have `config`, `sample_rate` and `hop`."""


def vocoder(config: VocoderConfig) -> Vocoder:
    """The vocoder that `config` describes, with random weights."""
    return HiFT(config) if isinstance(config, HiFTConfig) else Vocos(config)
