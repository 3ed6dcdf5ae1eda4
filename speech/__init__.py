"""A streaming speech toolkit: recognisers that write while you speak, synthesisers that speak while you write.

And converters, that turn your voice into another one meanwhile.

`speech.load("asr")`, `speech.load("tts")` and `speech.load("vc")` are the ways in.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speech.asr.events import Final, Partial, Segment, SpeechEnd, SpeechStart, Transcript, Word
    from speech.asr.recogniser import Recogniser
    from speech.asr.whisper.recogniser import WhisperRecogniser
    from speech.errors import SpeechError
    from speech.hub.load import load
    from speech.hub.models import list_models
    from speech.streaming.arena import Full
    from speech.streaming.engine.config import EngineConfig
    from speech.streaming.engine.engine import Engine
    from speech.tts.session import Speech
    from speech.tts.synthesiser import Synthesiser
    from speech.vc.converter import Converter
    from speech.vc.session import ConversionStream

_HOMES = {
    "ConversionStream": "speech.vc.session",
    "Converter": "speech.vc.converter",
    "Engine": "speech.streaming.engine.engine",
    "EngineConfig": "speech.streaming.engine.config",
    "Final": "speech.asr.events",
    "Full": "speech.streaming.arena",
    "Partial": "speech.asr.events",
    "Recogniser": "speech.asr.recogniser",
    "Segment": "speech.asr.events",
    "Speech": "speech.tts.session",
    "SpeechEnd": "speech.asr.events",
    "SpeechError": "speech.errors",
    "SpeechStart": "speech.asr.events",
    "Synthesiser": "speech.tts.synthesiser",
    "Transcript": "speech.asr.events",
    "WhisperRecogniser": "speech.asr.whisper.recogniser",
    "Word": "speech.asr.events",
    "list_models": "speech.hub.models",
    "load": "speech.hub.load",
}

__all__ = [
    "ConversionStream",
    "Converter",
    "Engine",
    "EngineConfig",
    "Final",
    "Full",
    "Partial",
    "Recogniser",
    "Segment",
    "Speech",
    "SpeechEnd",
    "SpeechError",
    "SpeechStart",
    "Synthesiser",
    "Transcript",
    "WhisperRecogniser",
    "Word",
    "list_models",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import speech` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'speech' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
