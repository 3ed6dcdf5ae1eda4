"""Sound files and standard input, as mono float32 samples."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from speech.audio.container import ends_within_a_page, forwarded, slack, stated_length, unclosed
from speech.audio.resample import Resampler
from speech.audio.samples import unfit
from speech.errors import SpeechError
from speech.streaming.closing import Closing

STDIN = "-"
MAX_CHANNELS = 1024  # as in libsndfile
SHORTEST = 0.025  # seconds: one analysis window, the least in which anything can be heard

Channel = int | Literal["mix"] | None
"""Which channel to hear: its number from 1 on, "mix" for the mean of all; None: the mean of two, of more an error."""


@dataclass(frozen=True)
class Audio:
    """Mono sound. samples: [n] float32, nominally in [-1, 1]; sample_rate in Hz."""

    samples: np.ndarray
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class Pcm:
    """How headerless samples are to be read: interleaved, little endian. sample_rate in Hz."""

    sample_rate: int
    encoding: Literal["s16le", "f32le"] = "s16le"
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in ("s16le", "f32le"):
            raise SpeechError(f"expected raw samples as s16le or f32le, got '{self.encoding}'")
        if self.sample_rate < 1 or not 1 <= self.channels <= MAX_CHANNELS:
            raise SpeechError(
                f"expected raw samples of at least 1 Hz and 1 to {MAX_CHANNELS} channels, got {self.sample_rate} Hz "
                f"and {self.channels}"
            )

    @property
    def dtype(self) -> np.dtype:
        """Of one sample."""
        return np.dtype("<i2" if self.encoding == "s16le" else "<f4")


class Reader(Closing):
    """A sound file (any format, rate, channel count and sample type that libsndfile reads), decoded block by block.

    path: a file, or "-" for standard input: raw samples if `pcm` says how to read them, else with a header. Through a
    pipe WAV (with any stated length), AIFF, AU and Ogg are decoded as they come, FLAC and MP3 once they are complete.
    channel: see `Channel`.

    A SpeechError tells of a file that is missing, a folder, empty, unreadable, without samples, that has no such
    channel or several and none was chosen, that holds samples which are not finite, or that was cut short: then after
    all that can be decoded has come. (Of an MP3 file without a Xing header nobody can tell how long it should be.)
    """

    def __init__(self, path: str | os.PathLike[str], pcm: Pcm | None = None, channel: Channel = None) -> None:
        self.name = "standard input" if str(path) == STDIN else f"'{path}'"
        self.length: int | None = None
        self._stated, self._slack = 0, 0.0  # samples that the header promises (0: it does not say), seconds less
        self._cut = False
        if str(path) != STDIN:
            _check(Path(path), self.name)
        elif sys.stdin is None:
            raise SpeechError("expected sound on standard input, but it is closed: pipe a recording into it")
        if pcm is None:
            file = self._file = self._decoder(path)
            self.sample_rate, channels = file.samplerate, file.channels
            if file.seekable():
                self.length, self._stated, self._slack = file.frames, stated_length(file), slack(file)
                self._cut = file.format == "OGG" and str(path) != STDIN and ends_within_a_page(path)
            self._pull: Callable[[int], np.ndarray] = lambda n: file.read(n, dtype="float32", always_2d=True)
        else:
            stdin = str(path) == STDIN
            raw = self._file = sys.stdin.buffer if stdin else Path(path).open("rb")  # noqa: SIM115 (close does)
            self.sample_rate, channels = pcm.sample_rate, pcm.channels
            self._pull = lambda n: _unpack(raw.read(n * pcm.channels * pcm.dtype.itemsize), pcm)
        try:
            self._column = _column(channel, channels, self.name)
        except SpeechError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; standard input stays open. Closing twice is fine."""
        if sys.stdin is None or self._file is not sys.stdin.buffer:
            self._file.close()

    @property
    def seconds(self) -> float | None:
        """Length by the file's header, in seconds; None where there is no telling before the end."""
        return None if self.length is None else self.length / self.sample_rate

    def blocks(self, block_seconds: float = 1.0) -> Iterator[np.ndarray]:
        """The sound from here to the end, float32 [n] at the file's own rate; only the last block may be shorter."""
        size, start = max(1, round(block_seconds * self.sample_rate)), 0
        while len(block := self._next(size, start)):
            yield block
            start += len(block)
        if not start:
            raise SpeechError(f"expected sound, got {self.name}, which holds no samples: it may have been cut short")
        if self._stated - start > self._slack * self.sample_rate:
            raise SpeechError(
                f"expected {self._stated / self.sample_rate:.2f} s of sound as the header of {self.name} says, but it "
                f"ends after {start / self.sample_rate:.2f} s: it was cut short; fetch or export it again"
            )
        if self._cut:
            raise SpeechError(
                f"expected {self.name} to go on, but it stops within a page after {start / self.sample_rate:.2f} s: "
                "it was cut short; fetch or export it again"
            )

    def _decoder(self, path: str | os.PathLike[str]) -> soundfile.SoundFile:
        try:
            return _opened(sys.stdin.fileno() if str(path) == STDIN else path)
        except OSError as error:
            raise SpeechError(f"expected a sound file, got {self.name}: {error.strerror}; check the path") from error
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: the name ends in .raw
            reason = getattr(error, "error_string", str(error)).rstrip(".")
            if "SF_INFO struct incomplete" in reason:
                reason = "its header states no usable sample rate"
            remedy = (
                "pipe wav, pass the file by its name" if str(path) == STDIN else "convert it to wav, as ffmpeg does"
            )
            raise SpeechError(
                f"expected a sound file (wav, flac, mp3, ogg, opus, ...), got {self.name}, which cannot be decoded "
                f"({reason}): {remedy}, or say how raw samples are to be read"
            ) from error

    def _next(self, size: int, start: int) -> np.ndarray:
        """The next mono block, of `size` samples if there are as many; `start`: how many have come before it."""
        at = start / self.sample_rate
        try:
            block = self._pull(size)
        except soundfile.LibsndfileError as error:
            raise SpeechError(
                f"expected {self.name} to go on, but it cannot be decoded beyond {at:.2f} s: it was cut short or "
                "damaged, or cannot be read through a pipe"
            ) from error
        mono = block.mean(1) if self._column is None else block[:, self._column]
        if fault := unfit(mono):
            at += fault[0] / self.sample_rate
            raise SpeechError(f"expected {fault[1]} in {self.name} at {at:.3f} s: export the recording again")
        return np.ascontiguousarray(mono)


def read(
    path: str | os.PathLike[str], sample_rate: int | None = None, *, pcm: Pcm | None = None, channel: Channel = None
) -> Audio:
    """A whole file (or "-": standard input), at `sample_rate` Hz (default: its own). Raises SpeechError as `Reader`."""
    with Reader(path, pcm, channel) as reader:
        rate = sample_rate or reader.sample_rate
        return Audio(np.concatenate([np.zeros(0, np.float32), *_at_rate(reader, rate, 10.0)]), rate)


def blocks(
    path: str | os.PathLike[str],
    sample_rate: int,
    block_seconds: float = 1.0,
    *,
    pcm: Pcm | None = None,
    channel: Channel = None,
) -> Iterator[np.ndarray]:
    """What there is to hear in a file (or "-") of any length, in constant memory.

    Yields blocks of about `block_seconds`, float32 [n], at `sample_rate` Hz. Raises SpeechError as `Reader`, as soon as
    what is wrong is reached; and at once for a file that is shorter than one analysis window, or silent throughout.
    """
    if str(path) != STDIN and Path(path).is_file():
        _check_heard(path, pcm, channel)
    with Reader(path, pcm, channel) as reader:
        yield from _at_rate(reader, sample_rate, block_seconds)


def _opened(source: int | str | os.PathLike[str]) -> soundfile.SoundFile:
    """A file by its name, or an open one by its descriptor, which stays open, as libsndfile decodes it."""
    numbered = isinstance(source, int)
    regular = stat.S_ISREG(os.stat(source).st_mode)
    if regular:
        name = source if numbered or os.name != "posix" else os.fsencode(source)  # which need not be text
        file = soundfile.SoundFile(name, closefd=False)  # type: ignore[arg-type]
        if not unclosed(file):
            return file
        file.close()
    descriptor = os.dup(source) if numbered else os.open(source, os.O_RDONLY)
    if regular:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return soundfile.SoundFile(forwarded(descriptor))


def _check(path: Path, name: str) -> None:
    """Whether there is something to read at all; libsndfile says only that it failed."""
    try:
        if path.is_dir():
            raise SpeechError(f"expected a sound file, got the folder {name}: name the files in it")
        if path.exists() and not path.is_file():
            return  # a pipe or a device: to look into it is to take from it
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SpeechError(f"expected a sound file, got {name}: {error.strerror}") from error
    if empty:
        raise SpeechError(f"expected a sound file, got {name}, which is empty (0 bytes): record or export it again")


def _column(channel: Channel, channels: int, name: str) -> int | None:
    """The index of the chosen channel, None for the mean of all."""
    if channel is None and channels > 2:
        raise SpeechError(
            f"expected one or two channels, got {channels} in {name}: choose one with --channel 1 to {channels}, or "
            "their mean with --channel mix (in Python channel=1, channel='mix')"
        )
    if channel is None or channel == "mix":
        return 0 if channels == 1 else None
    if not isinstance(channel, int) or not 1 <= channel <= channels:
        raise SpeechError(f"expected a channel of 1 to {channels} or mix, got {channel!r} for {name}")
    return channel - 1


def _check_heard(path: str | os.PathLike[str], pcm: Pcm | None, channel: Channel) -> None:
    """Look for the first sample that is not zero. Whoever reads the file on meets what else is wrong with it."""
    with Reader(path, pcm, channel) as reader:
        length = 0
        try:
            for block in reader.blocks():
                length += len(block)
                if length >= SHORTEST * reader.sample_rate and block.any():
                    return
        except SpeechError:
            return
        if length < SHORTEST * reader.sample_rate:
            raise SpeechError(
                f"expected at least {SHORTEST * 1e3:.0f} ms of sound, got {1e3 * length / reader.sample_rate:.2g} ms "
                f"in {reader.name}, too little to hold a word: it may have been cut short"
            )
        raise SpeechError(
            f"expected speech, got {reader.name}, in which every sample is zero: the microphone was muted, or the "
            "speech is in another channel"
        )


def _unpack(data: bytes, pcm: Pcm) -> np.ndarray:
    """Raw bytes to samples [n, channels]; of a stream that stopped within a sample, the samples that are whole."""
    size = pcm.channels * pcm.dtype.itemsize
    x = np.frombuffer(data[: len(data) // size * size], pcm.dtype).reshape(-1, pcm.channels)
    return x.astype(np.float32) / (32768 if pcm.encoding == "s16le" else 1)


def _at_rate(reader: Reader, sample_rate: int, block_seconds: float) -> Iterator[np.ndarray]:
    """The reader's blocks, resampled; empty ones left out."""
    resampler, failure = Resampler(reader.sample_rate, sample_rate), None
    try:
        for block in reader.blocks(block_seconds):
            if len(ready := resampler.push(block)):
                yield ready
    except SpeechError as error:  # told after the sound up to there
        failure = error
    if len(rest := resampler.flush()):
        yield rest
    if failure:
        raise failure
