"""`transcribe`: a recogniser on a recording.

* Real-time factor: seconds of computing for a second of audio, of whole-file transcription and of a live stream that
  gets blocks of 20 ms.
* Delay of words: a live stream on a simulated clock. A block comes when its last sample has been spoken; it is worked
  on when it is there and the block before it is done, which takes the time that is measured; its events come when it
  is done. The delay of a word runs from its end, as the recogniser's own final transcript has it (to an encoder
  frame), to the first event in which it stands as it stands there.
* Memory: of this process after one minute of one live stream and after many, the recording in a loop.
* Word error rate of a folder with a `manifest.jsonl`, on request.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch

from benchmarks.ledger import ROOT
from benchmarks.measure import Result, Samples
from speech.asr.events import Event, Final, Partial
from speech.asr.live import LiveStream
from speech.asr.recogniser import Recogniser
from speech.asr.recording import Source
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.audio.file import read
from speech.errors import SpeechError
from speech.hub.load import load_recogniser

BLOCK = 0.02  # seconds that a microphone delivers at a time

Either = Recogniser | WhisperRecogniser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", default="asr", help="name, folder or file of a recogniser")
    parser.add_argument("--audio", type=Path, default=ROOT / "demo" / "demo.flac", help="the recording")
    parser.add_argument(
        "--look-ahead",
        "--chunk",
        type=int,
        nargs="+",
        help="milliseconds of look-ahead, or of a Whisper's chunks (default: all that the model has)",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="times the recording is heard for each speed")
    parser.add_argument("--minutes", type=float, default=60, help="length of the stream whose memory is measured")
    parser.add_argument("--wer", type=Path, metavar="FOLDER", help="score this folder too (slow)")


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Measure speed, delay, memory and, on request, errors."""
    if options.smoke:
        options.repeats, options.minutes = 1, 0.1
    torch.set_num_threads(options.threads)
    recogniser = load_recogniser(options.model, device="cpu")
    samples = read(options.audio, recogniser.sample_rate).samples
    ahead = options.look_ahead or paces(recogniser)
    yield from speed(recogniser, samples, ahead, options.repeats, options.threads)
    for milliseconds in ahead:
        yield from delay(recogniser, samples, milliseconds, options.threads)
    yield from memory(recogniser, samples, options.minutes, options.threads)
    if options.wer:
        for milliseconds in ahead:
            yield errors(recogniser, options.wer, milliseconds)


def paces(recogniser: Either) -> list[int]:
    """The milliseconds of look-ahead, or of a Whisper's chunks, that there are."""
    if isinstance(recogniser, WhisperRecogniser):
        return recogniser.chunks or [recogniser.chunk]
    return recogniser.look_aheads


def opened(recogniser: Either, milliseconds: int) -> LiveStream:
    """A live stream at one of these paces."""
    if isinstance(recogniser, WhisperRecogniser):
        return recogniser.stream(recogniser.sample_rate, chunk=milliseconds)
    return recogniser.stream(recogniser.sample_rate, look_ahead=milliseconds)


def whole(recogniser: Either, source: Source, milliseconds: int) -> str:
    """What is said in a file, or in samples at the model's rate."""
    rate = recogniser.sample_rate if isinstance(source, np.ndarray) else None
    if isinstance(recogniser, WhisperRecogniser):
        return recogniser.transcribe(source, rate, chunk=milliseconds).text
    return recogniser.transcribe(source, rate, look_ahead=milliseconds).text


def speed(recogniser: Either, samples: np.ndarray, ahead: list[int], repeats: int, threads: int) -> Iterator[Result]:
    """Real-time factors; whole file and live stream of every look-ahead take turns. samples: [n]."""
    taken: dict[str, Samples] = {}
    for turn in range(repeats + 1):
        for milliseconds in ahead:
            file = taken.setdefault(f"{milliseconds} ms, whole file", Samples())
            live = taken.setdefault(f"{milliseconds} ms, live", Samples())
            file.time(lambda ms=milliseconds: whole(recogniser, samples, ms))
            live.time(lambda ms=milliseconds: listen(recogniser, samples, ms))
        if not turn and repeats > 1:  # warms up
            taken.clear()
    for case, times in taken.items():
        yield from times.results(case, threads, scale=recogniser.sample_rate / len(samples), unit="x real time")


def listen(recogniser: Either, samples: np.ndarray, milliseconds: int) -> list[tuple[float, Event]]:
    """Events of a live stream and when they come, in seconds on the simulated clock. samples: [n]."""
    rate = recogniser.sample_rate
    size = round(BLOCK * rate)
    clock, events = 0.0, []
    with opened(recogniser, milliseconds) as stream:
        for end in range(size, len(samples) + size, size):
            begun = time.perf_counter()
            found = stream.push(samples[end - size : end])
            if end >= len(samples):
                found += stream.flush()
            clock = max(clock, min(end, len(samples)) / rate) + time.perf_counter() - begun
            events += [(clock, event) for event in found]
    return events


def delay(recogniser: Either, samples: np.ndarray, milliseconds: int, threads: int) -> Iterator[Result]:
    """How long after their ends words are first seen. samples: [n]."""
    case, delays = f"{milliseconds} ms, live", word_delays(listen(recogniser, samples, milliseconds))
    yield Result(case, "words", len(delays), "", 1, threads)
    if len(delays) > 1:
        yield Result(case, "word delay median", 1e3 * median(delays), "ms", len(delays), threads)
        yield Result(case, "word delay 90 %", 1e3 * quantiles(delays, n=10)[-1], "ms", len(delays), threads)


def word_delays(events: list[tuple[float, Event]]) -> list[float]:
    """Seconds from the end of each final word to the first event, with its time, that shows it as it is in the end."""
    delays, shown = [], []  # shown: (time, words) of the running utterance's partials
    for now, event in events:
        if isinstance(event, Partial):
            shown.append((now, event.text.split()))
        elif isinstance(event, Final):
            for i, word in enumerate(event.words):
                seen = (then for then, words in shown if words[i : i + 1] == [word.text])
                delays.append(next(seen, now) - word.end)
            shown = []
    return delays


def memory(recogniser: Either, samples: np.ndarray, minutes: float, threads: int) -> Iterator[Result]:
    """Resident memory early and late in one live stream of the looped recording. samples: [n]."""
    rate, early = recogniser.sample_rate, min(1.0, minutes / 2)
    heard = 0
    with recogniser.stream(rate) as stream:
        for mark in (early, minutes):
            while heard < mark * 60 * rate:
                stream.push(samples.take(range(heard, heard + rate), mode="wrap"))
                heard += rate
            yield Result(f"after {mark:g} min", "memory", resident() / 2**20, "MiB", 1, threads)


def resident() -> int:
    """Bytes of this process that lie in memory now. Raises SpeechError where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        raise SpeechError("expected /proc/self/statm, this system has none: measure memory on Linux") from None
    return pages * os.sysconf("SC_PAGE_SIZE")


def errors(recogniser: Either, folder: Path, milliseconds: int) -> Result:
    """Word error rate over the recordings that `manifest.jsonl` of `folder` lists with their `text`."""
    import jiwer

    from recipes.common.text import normalise

    lines = (folder / "manifest.jsonl").read_text().splitlines()
    entries = [entry for entry in map(json.loads, lines) if entry.get("text")]
    said = [normalise(whole(recogniser, folder / e["audio"], milliseconds)) for e in entries]
    rate = jiwer.wer([normalise(entry["text"]) for entry in entries], said)
    return Result(f"{milliseconds} ms, whole file", "word errors", 100 * rate, "%", len(entries))
