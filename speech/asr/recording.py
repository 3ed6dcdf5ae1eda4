"""A whole recording through a stream: files and arrays to transcripts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from speech.asr.events import Event, Final, Segment, Transcript
from speech.asr.live import LiveStream
from speech.audio.file import Channel, Pcm, blocks
from speech.audio.samples import to_float
from speech.errors import SpeechError

Source = str | Path | np.ndarray
"""A recording: a file ("-": standard input), or samples [n], float32 or int16."""

PIECE = 1 << 16
"""Samples of an array that are taken at once."""


class Interrupted(SpeechError):
    """A recording that broke off after some words; `transcript` holds what was recognised up to there."""

    def __init__(self, message: str, transcript: Transcript) -> None:
        super().__init__(message)
        self.transcript = transcript


def transcribed(
    source: Source,
    sample_rate: int | None,
    stream: Callable[[int], LiveStream],
    own_rate: int,
    *,
    pcm: Pcm | None = None,
    channel: Channel = None,
    progress: Callable[[float], None] | None = None,
) -> Transcript:
    """The transcript of a recording, piece by piece, so that memory does not grow with it (the transcript does).

    sample_rate: of an array, in Hz. stream: opens a stream for samples at a rate. own_rate: at which a file is read.
    pcm: how headerless samples are to be read. channel: which one of a file to hear. progress: called with the seconds
    done so far. Raises SpeechError for what cannot be read or is not samples, `Interrupted` for what breaks off midway.
    """
    rate, parts = opened(source, sample_rate, own_rate, pcm=pcm, channel=channel)
    segments: list[Segment] = []
    with stream(rate) as running:
        failure = None
        try:
            for part in parts:
                segments += _segments(running.push(part))
                if progress:
                    progress(running.duration)
        except SpeechError as error:
            failure = error
        segments += _segments(running.flush())
        transcript = Transcript(tuple(segments), round(running.duration, 3), running.language)
        if failure and segments:
            raise Interrupted(str(failure), transcript) from failure
        if failure:
            raise failure
        return transcript


def opened(
    source: Source, sample_rate: int | None, own_rate: int, pcm: Pcm | None = None, channel: Channel = None
) -> tuple[int, Iterable[np.ndarray]]:
    """A recording piece by piece, float32 [n], and the rate of these samples in Hz; arguments as for `transcribed`."""
    if isinstance(source, str | os.PathLike):
        if sample_rate is not None:
            raise SpeechError("expected no sample rate beside a file, which has its own: raw samples want pcm=...")
        return own_rate, blocks(source, own_rate, pcm=pcm, channel=channel)
    samples = to_float(source)
    if sample_rate is None:
        raise SpeechError("expected a sample rate beside an array of samples, got none: pass sample_rate=...")
    return sample_rate, (samples[i : i + PIECE] for i in range(0, len(samples), PIECE))


def _segments(events: Iterable[Event]) -> list[Segment]:
    return [Segment(e.text, e.words, e.start, e.end, e.confidence) for e in events if isinstance(e, Final)]
