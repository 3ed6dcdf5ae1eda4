"""The definition of `engine`.

By default: so many live streams of a model, each pushed in pieces of 20 ms as a microphone gives them, at moments of
its own, by one thread of this process. The latency of a chunk runs from the push of its last sample until all its
results are there to be taken. Overhead is all that the engine's thread does beside the steps of networks, for each
step. A synthesiser is given text instead, sentence by sentence, and listened to in real time.

* `--card`: what a card can do. Each regular step of each model by its rows: PyTorch's operations one by one (eager) and
  replayed from a graph (graph), and a graph with our kernels (fused), as engines run it; then the largest number of
  real-time streams whose latency stays below 100 ms in 99 of 100 chunks, pushed chunk by chunk, or of listeners
  without a gap. Predictions stand beside what was measured, and with `--with-nemo` the step of NeMo's encoder
  (`cache_aware_stream_step`, eager, in the same precision) at the shapes of 114m and 600m; it starts from log-mel
  frames, ours from samples.
* `--soak`: visitors come and go for `--minutes`. What each one's session has written when it ends must be what the same
  samples give alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch

from benchmarks.asr_step.venv import add_nemo_option
from benchmarks.engine.card import OPEN_TO_ALL, limits
from benchmarks.engine.live import measure, results
from benchmarks.engine.nemo import beside
from benchmarks.engine.soak import soak
from benchmarks.measure import Result
from benchmarks.options import above_zero
from speech.asr.recogniser import Recogniser
from speech.errors import SpeechError
from speech.hub.load import load, load_recogniser
from speech.streaming.engine.engine import Engine

CARD = ("114m", "600m", "vc", "tts")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model", nargs="+", help="names or folders; with --card also 114m and 600m, untrained (default: asr, or all)"
    )
    parser.add_argument("--streams", type=int, default=16, help="at the same time (default: 16)")
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 60, of a card 5)")
    parser.add_argument("--push", type=float, default=20.0, help="milliseconds of a push (default: 20)")
    parser.add_argument("--look-ahead", type=int, help="milliseconds, of a recogniser (default: its own)")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--device", help="such as cuda:0 (default: the best there is)")
    parser.add_argument("--card", action="store_true", help="find the limits of a card")
    add_nemo_option(parser)
    parser.add_argument("--soak", action="store_true", help="let sessions come and go, and lose nothing")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
    parser.add_argument("--slots", type=int, help="of the soak's engine (default: three quarters of --streams)")


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Measure. Raises SpeechError for numbers that are not above 0, a card that is not there, NeMo without one, and a
    model that cannot soak.
    """
    if options.with_nemo and not options.card:
        raise SpeechError(
            "expected --with-nemo beside --card, got it alone: add --card, or take `speech bench asr-step`"
        )
    above_zero(options, "streams", "push", "threads", "seconds", "minutes")
    torch.set_num_threads(options.threads)
    if options.card:
        yield from _card(options)
    elif options.soak:
        yield from _soak(options)
    else:
        for name in options.model or ["asr"]:
            yield from _live(name, options)


def _live(name: str, options: argparse.Namespace) -> Iterator[Result]:
    streams, seconds = (2, 2.0) if options.smoke else (options.streams, options.seconds or 60.0)
    model, period = load(name, options.device), options.push / 1e3
    choice = {} if options.look_ahead is None else {"look_aheads": (options.look_ahead,)}
    with Engine(model, streams, OPEN_TO_ALL, **choice) as engine:
        found = measure(engine, model, streams, seconds, period)
    yield from results(f"{name}, {streams} streams", found, options.threads)


def _card(options: argparse.Namespace) -> Iterator[Result]:
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type != "cuda" and not options.smoke:
        raise SpeechError("expected a CUDA device for --card, this machine has none: rehearse it with --smoke")
    models = ["tiny"] if options.smoke else options.model or [*CARD]
    seconds = 1.0 if options.smoke else options.seconds or 5.0
    with beside(options.with_nemo) as nemo:
        yield from limits(models, device, seconds, smoke=options.smoke, nemo=nemo)


def _soak(options: argparse.Namespace) -> Iterator[Result]:
    name, *more = options.model or ["asr"]
    recogniser = load_recogniser(name, options.device)
    if more or not isinstance(recogniser, Recogniser):
        raise SpeechError("expected one FastConformer recogniser to soak, got another model: leave --model out")
    visitors, seconds = (3, 8.0) if options.smoke else (options.streams, 60 * options.minutes)
    slots = options.slots or max(3 * visitors // 4, 1)
    yield from soak(recogniser, visitors, slots, seconds, options.threads, options.look_ahead)
