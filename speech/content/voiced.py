"""Whether anybody speaks in a recording."""

from __future__ import annotations

import warnings

import numpy as np

from speech.audio.vad import SAMPLE_RATE, WINDOW, Silero
from speech.content.reference import SILENCE
from speech.errors import SpeechError

LIKELY = 0.8
"""Probability from which a window counts as voice."""

ENOUGH, SOUNDING = 3.0, 1.0
"""Seconds of voice after which no more is judged, and seconds that must sound for a judgement."""

NONE, LITTLE = 0.1, 0.25
"""Shares of voice in what sounds, below which there is none, and little. Noise and music without singing have 0.05 at
the most; speech has 0.4 at the least, be it quiet, sampled at 8 kHz or 10 dB above noise."""

LEVEL, QUIET = 0.5, 0.01
"""The peak that a recording is brought to before it is judged; the share of it below which a window is a pause."""


class VoiceShare:
    """How much of what sounds in a recording is voice, by Silero's detector; it may come in parts."""

    def __init__(self) -> None:
        self._detector = Silero()
        self._pending = np.zeros(0, np.float32)
        self._peak, self._heard = SILENCE, 0
        self.begin: int | None = None  # the sample at which the first voice is heard
        self._sounding = self._voiced = 0  # windows

    @property
    def done(self) -> bool:
        """Whether there has been so much voice that more of the recording cannot matter."""
        return self._voiced * WINDOW >= ENOUGH * SAMPLE_RATE

    @property
    def voiced(self) -> bool:
        """Whether anything until now sounded like a voice."""
        return self._voiced > 0

    @property
    def share(self) -> float | None:
        """Of what sounded until now, pauses left out; None where that is too little to judge."""
        if self._sounding * WINDOW < SOUNDING * SAMPLE_RATE:
            return None
        return self._voiced / self._sounding

    def push(self, samples: np.ndarray) -> None:
        """Hear the next samples [n], float32 at 16 kHz."""
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0)))
        joined = np.concatenate([self._pending, samples])
        whole = len(joined) // WINDOW * WINDOW
        self._pending = joined[whole:]
        for window in joined[:whole].reshape(-1, WINDOW):
            if self.done:
                return
            voiced = self._detector(window * np.float32(LEVEL / self._peak)) >= LIKELY
            sounding = np.abs(window).max() >= QUIET * self._peak
            self._sounding += bool(sounding)
            self._voiced += bool(sounding and voiced)
            if self.begin is None and sounding and voiced:
                self.begin = self._heard
            self._heard += WINDOW


def require_voice(name: str, samples: np.ndarray) -> int:
    """Raise SpeechError for a reference recording in which nobody speaks, warn of one in which something else prevails
    and of a short one without a sound of a voice. Returns the sample at which the first voice is heard.

    samples: [n] float32 at 16 kHz. name: what the recording is called in the warning.
    """
    heard = VoiceShare()
    heard.push(samples)
    share = heard.share
    if share is None and not heard.voiced:
        warnings.warn(
            f"in {name} too little sounds to tell whether somebody speaks, and none of it like a voice: take a longer "
            "recording of one",
            stacklevel=2,
        )
    if share is not None and share < NONE:
        raise SpeechError(
            "expected a recording of a voice, got one in which nobody seems to speak: take one without music and noise"
        )
    if share is not None and share < LITTLE:
        warnings.warn(
            f"in {name} somebody speaks for {share:.0%} of what sounds only, so the voice may take after the rest: cut "
            "out where he speaks",
            stacklevel=2,
        )
    return heard.begin or 0
