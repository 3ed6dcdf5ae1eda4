"""Stage `speaker`: the speaker vector of the new voice, by the model's own encoder."""

from __future__ import annotations

from recipes.tts_small.speaker import write_vectors
from recipes.tts_voice.settings import VoiceSettings


def speaker(settings: VoiceSettings) -> None:
    """Write the mean vector of the recordings, of the longest of them where there are many."""
    write_vectors(settings)
