"""The definition of `tts`.

* Stages: text front end for a sentence, language model for a code, flow and vocoder for a chunk of the flow.
* Draft heads, where the model has some: what the heads take to guess so many codes; a pass that verifies these guesses,
  the heads before it included; and the share of guesses that must be right for a code to cost what it costs without, by
  processor time. The untrained model gets heads for this; those of a model in a folder are measured as they are.
* A second of speech, early and late: one stream of random codes, chunk after chunk; the chunk that completes so many
  seconds is timed. Wall time, and this process's processor time, which is what a free core would need.
* First sound: from the first text to the first samples, the whole way, computing included.
* Memory: of this process after so many minutes of one stream of a text without an end, and the processor time that a
  second of its sound took since the mark before.

The untrained model of CosyVoice 2's sizes stands for any of them: its times do not depend on its weights. A voice
without a prompt.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median

import torch

from benchmarks.measure import Result, Samples
from benchmarks.transcribe import resident
from benchmarks.tts.untrained import SIZES, untrained, untrained_lm
from speech.asr.recogniser import find_device
from speech.hub.load import load_synthesiser
from speech.streaming.lane import alone
from speech.tts.generation import Generation
from speech.tts.layout import NOTHING
from speech.tts.lm import TextSpeechLM
from speech.tts.reader import Reader
from speech.tts.render import Acoustics, Renderer
from speech.tts.sampling import Sampler, SamplingConfig, uniform
from speech.tts.stages import Stage, Stages
from speech.tts.synthesiser import Synthesiser
from speech.tts.text.frontend import pieces
from speech.tts.voice import Voice

SENTENCE = "The old man, who was 82 years old, rode slowly to the village with a letter for Mr. Brown in his hand. "
CODES = 40  # of which the language model's time for one is the median
DRAFTS = (2, 4)  # codes that are guessed after a pass
PARTS = ("text", "lm", "chunks", "first-sound", "memory", "drafts")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model",
        nargs="+",
        default=["cosyvoice2"],
        help="names or folders of synthesisers; cosyvoice2: untrained, of CosyVoice 2's sizes",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="such as cuda; by default cpu")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 4, 8, 30], help="already spoken")
    parser.add_argument("--repeats", type=int, default=3, help="streams whose chunks and first sounds are timed")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5, 10], help="spoken when memory is measured")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="measure these parts alone")


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Measure each model."""
    if options.smoke:
        options.model, options.seconds, options.repeats, options.minutes = ["tiny"], [1, 2], 1, [0.05, 0.1]
    torch.set_num_threads(options.threads)
    device = options.device = find_device(options.device)
    for name in options.model:
        synthesiser = untrained(name, device) if name in SIZES else load_synthesiser(name, device)
        for case, metric, values, unit in measured(name, synthesiser, options):
            yield Result(f"{name}: {case}", metric, median(values), unit, len(values), options.threads)


Row = tuple[str, str, list[float], str]
"""Case, metric, measurements, unit."""


def measured(name: str, synthesiser: Synthesiser, options: argparse.Namespace) -> Iterator[Row]:
    """The parts that are asked for; the model with draft heads is made last, lest it count as memory."""
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "text": lambda: reading(synthesiser, options.repeats),
        "lm": lambda: speaking(synthesiser),
        "chunks": lambda: chunks(synthesiser, options.seconds, options.repeats),
        "first-sound": lambda: first_sound(synthesiser, options.repeats),
        "memory": lambda: memory(synthesiser, sorted(options.minutes)),
        "drafts": lambda: drafting(
            untrained_lm(name, max(DRAFTS), options.device) if name in SIZES else synthesiser.model.lm,
            synthesiser.reader,
        ),
    }
    for part in PARTS:
        if part in options.only:
            yield from parts[part]()


def reading(synthesiser: Synthesiser, repeats: int) -> Iterator[Row]:
    """Text front end: a sentence to ids."""
    samples = Samples()
    for _ in range(max(10 * repeats, 2)):
        samples.time(lambda: [synthesiser.reader.read(piece, 0) for piece in pieces(SENTENCE)])
    yield from _both("text, a sentence", samples)


def speaking(synthesiser: Synthesiser) -> Iterator[Row]:
    """Language model: codes one after another, the text behind them given."""
    codes, samples = _begun(synthesiser.model.lm, synthesiser.reader).codes(), Samples()
    for _ in range(CODES):
        samples.time(lambda: next(codes))
    yield from _both("language model, a code", samples)


def _begun(lm: TextSpeechLM, reader: Reader, drafts: int = 0) -> Generation:
    """A stream of codes with enough text."""
    draws = uniform(torch.Generator().manual_seed(0))
    generation = Generation(lm, reader.script(NOTHING), Sampler(SamplingConfig(drafts=drafts), draws))
    generation.push(id for piece in pieces(SENTENCE * 2) for id in reader.read(piece, 0).ids)
    return generation


def drafting(lm: TextSpeechLM, reader: Reader) -> Iterator[Row]:
    """Draft heads, as many as the model has of those in `DRAFTS`: their time, a verifying pass, and the break-even."""
    counts = [drafts for drafts in DRAFTS if drafts <= len(lm.drafts)]
    if not counts:
        return
    streams = {drafts: _begun(lm, reader, drafts) for drafts in (0, *counts)}
    passes, heads = {drafts: Samples() for drafts in streams}, {drafts: Samples() for drafts in counts}
    for _ in range(CODES):  # in turn, so that all meet the same machine
        for drafts, stream in streams.items():
            _one_pass(stream, passes[drafts])
        for drafts in counts:
            heads[drafts].time(lambda drafts=drafts: _guess(lm, drafts))
    for drafts in counts:
        case = f"language model, {drafts} drafts"
        for metric, samples in (("heads", heads[drafts]), ("verifying pass", passes[drafts])):
            yield case, metric, [1e3 * t for t in samples.wall], "ms"
            yield case, f"{metric} cpu", [1e3 * t for t in samples.cpu], "ms"
        ratio = median(passes[drafts].cpu) / median(passes[0].cpu)
        yield case, "break-even", [100 * break_even(ratio, drafts)], "% right"


def _one_pass(stream: Generation, samples: Samples) -> None:
    """Time the next code that takes a pass."""
    codes, before = stream.codes(), stream.passes
    while True:
        sample = Samples()
        sample.time(lambda: next(codes))
        if stream.passes > before:
            samples.extend(sample)
            return


@torch.inference_mode()
def _guess(lm: TextSpeechLM, drafts: int) -> None:
    """What the heads compute after a pass."""
    state = row = torch.zeros(1, lm.config.decoder.dim, device=next(lm.parameters()).device)
    for head in lm.drafts[:drafts]:
        state = head(state, row)
        lm.head(state)


def break_even(ratio: float, drafts: int) -> float:
    """The share p of right guesses at which a verifying pass, `ratio` times as long as one without, pays.

    A pass gives 1 + p + ... + p ** drafts codes, since a guess counts if those before it do. Above 1: it never pays.
    """
    low, high = 0.0, max(1.0, ratio)
    for _ in range(50):
        share = (low + high) / 2
        low, high = (share, high) if sum(share**i for i in range(drafts + 1)) < ratio else (low, share)
    return high


@dataclass
class Timed(Stages):
    """Stages that count this process's processor time too, and on a card wait for it."""

    cpu: dict[Stage, float] = field(default_factory=dict)
    on_card: bool = False

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Count what the block takes."""
        began = time.process_time()
        with super().timed(stage):
            yield
            if self.on_card:
                torch.cuda.synchronize()
        self.cpu[stage] = self.cpu.get(stage, 0.0) + time.process_time() - began


def chunks(synthesiser: Synthesiser, seconds: list[float], repeats: int) -> Iterator[Row]:
    """Flow and vocoder: the chunk that completes so many seconds of speech."""
    model, device = synthesiser.model, next(synthesiser.model.parameters()).device
    acoustics = Acoustics(model.flow, model.vocoder)
    size, second = acoustics.context.chunk or 1, 1 / synthesiser.latency.code_seconds  # codes
    marks = {max(1, round(s * second / size)): s for s in seconds}
    taken: dict[tuple[float, str], list[float]] = {}
    for _ in range(repeats):
        codes = torch.randint(model.flow.config.vocabulary, (max(marks) * size + size,)).tolist()
        voice = Voice.plain(torch.randn(model.flow.config.speaker), model.flow.config.mel).to(device)
        stages = Timed(on_card=device.type == "cuda")
        renderer, given = Renderer(acoustics, voice, stages=stages), acoustics.codes_before_sound - size
        alone(renderer.beginning())
        alone(renderer.pushing(codes[:given]))
        for number in range(1, max(marks) + 1):
            before = _spent(stages)
            alone(renderer.pushing(codes[given : given + size]))
            given += size
            if number in marks:
                for metric, value in _spent(stages).items():
                    taken.setdefault((marks[number], metric), []).append(1e3 * (value - before[metric]))
    unit = f"ms / {size / second:g} s"
    for (mark, metric), values in taken.items():
        yield f"{mark:g} s spoken", metric, values, unit


def _spent(stages: Timed) -> dict[str, float]:
    return {
        "flow": stages.flow,
        "flow cpu": stages.cpu.get("flow", 0.0),
        "vocoder": stages.vocoder,
        "vocoder cpu": stages.cpu.get("vocoder", 0.0),
    }


def first_sound(synthesiser: Synthesiser, repeats: int) -> Iterator[Row]:
    """From a sentence to its first samples."""
    samples = Samples()
    for seed in range(repeats + 1):
        with synthesiser.stream(SENTENCE, seed=seed) as stream:
            if seed:
                samples.time(lambda stream=stream: next(iter(stream)))
            else:  # warms up
                next(iter(stream))
    yield from _both("first sound", samples)


def memory(synthesiser: Synthesiser, minutes: list[float]) -> Iterator[Row]:
    """Resident memory and processor time at these marks, in ascending order, of one stream of a text without an end."""
    marks, spoken, reached, began = list(minutes), 0.0, 0.0, time.process_time()
    with synthesiser.stream(repeat(SENTENCE), seed=0) as stream:
        for part in stream:
            spoken += part.seconds
            if spoken < 60 * marks[0]:
                continue
            case, now = f"after {marks.pop(0):g} min", time.process_time()
            yield case, "memory", [resident() / 2**20], "MiB"
            yield case, "cpu", [1e3 * (now - began) / (spoken - reached)], "ms / 1 s"
            reached, began = spoken, now
            if not marks:
                return


def _both(case: str, samples: Samples) -> Iterator[Row]:
    """Wall and processor time in milliseconds."""
    yield case, "wall", [1e3 * t for t in samples.wall], "ms"
    yield case, "cpu", [1e3 * t for t in samples.cpu], "ms"
