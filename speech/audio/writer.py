"""Sound files that grow while they are made."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from speech.errors import SpeechError
from speech.streaming.closing import Closing

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
}
"""By the ending of the file's name: container and encoding, as libsndfile calls them."""

SLICE = 1 << 15  # samples at a time: libsndfile's Vorbis encoder takes its whole input on the stack


class Writer(Closing):
    """A mono sound file at `sample_rate` Hz, whose format follows from its name's ending (one of `FORMATS`).

    What has been written is kept, whatever happens after: inside `with`, leaving by an exception closes the file too.
    Values beyond -1 and 1 are clipped. Raises SpeechError for another ending, for samples that are not finite, and
    where the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], sample_rate: int) -> None:
        self.path, self.sample_rate, self.length = Path(path), sample_rate, 0
        if self.path.suffix.lower() not in FORMATS:
            raise SpeechError(
                f"expected a file name that ends in {', '.join(FORMATS)}, got '{path}': choose one of these"
            )
        kind, encoding = FORMATS[self.path.suffix.lower()]
        try:
            self._raw = _Remembering(self.path, "w")
        except OSError as error:
            raise SpeechError(f"expected to write '{path}', but {error.strerror}: choose another place") from error
        try:
            self._file = soundfile.SoundFile(self._raw, "w", sample_rate, 1, encoding, format=kind)
        except soundfile.LibsndfileError as error:
            self._raw.close()
            self.path.unlink()
            raise SpeechError(
                f"expected a rate that {kind} can hold, got {sample_rate} Hz for '{path}': write wav or flac"
            ) from error

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self.length / self.sample_rate

    def write(self, samples: np.ndarray) -> None:
        """Append mono samples [n]."""
        x = np.asarray(samples, np.float32)
        if x.ndim != 1 or not np.isfinite(x).all():
            raise SpeechError(
                f"expected finite mono samples [n] to write to '{self.path}', got shape {list(x.shape)}"
                f"{'' if np.isfinite(x).all() else ', with NaN or infinity'}"
            )
        x = x.clip(-1, 1)
        try:
            for start in range(0, len(x), SLICE):
                self._file.write(x[start : start + SLICE])
        except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that all was written
            raise self._failed(self._raw.failure or error) from error
        if self._raw.failure:
            raise self._failed(self._raw.failure)
        self.length += len(x)

    def close(self) -> None:
        """Complete the file. Again is harmless."""
        if self._raw.closed:
            return
        try:
            self._file.close()
        except soundfile.LibsndfileError as error:
            raise self._failed(self._raw.failure or error) from error
        finally:
            self._raw.close()
        if self._raw.failure:
            raise self._failed(self._raw.failure)

    def _failed(self, error: Exception) -> SpeechError:
        reason = error.strerror if isinstance(error, OSError) else error
        return SpeechError(
            f"expected to write '{self.path}', but it failed after {self.seconds:.1f} s ({reason}): "
            "make room, or choose another place"
        )


class _Remembering(io.FileIO):
    """A file that libsndfile writes to by callbacks, which can raise nothing; `failure` keeps what went wrong first."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write bytes; returns how many, fewer than all only where it fails."""
        done = 0
        try:
            while done < len(data):
                done += super().write(data[done:])
        except OSError as error:
            self.failure = self.failure or error
        return done
