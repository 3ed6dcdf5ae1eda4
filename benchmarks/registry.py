"""All benchmarks by name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from benchmarks.measure import Result


class Definition(Protocol):
    """What the module of a benchmark defines."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options of this benchmark."""
        ...

    def run(self, options: argparse.Namespace) -> Iterator[Result]:
        """Measure; with `options.smoke` something tiny, in seconds, to see that it runs."""
        ...


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: its name, one line about it, and the module that defines it, imported when it is chosen."""

    name: str
    about: str
    module: str

    def load(self) -> Definition:
        """The module: its `add_options` and `run`."""
        return cast(Definition, import_module(self.module))


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "asr-step",
            "One chunk through the 114 M recogniser, beside NeMo and sherpa-onnx on the same weights.",
            "benchmarks.asr_step.compare",
        ),
        Benchmark(
            "transcribe",
            "A recogniser on a recording: real-time factor, delay of the first partial, memory, word errors.",
            "benchmarks.transcribe",
        ),
        Benchmark(
            "whisper",
            "What a chunk costs a Whisper early and late, beside computing it from the start again.",
            "benchmarks.whisper",
        ),
        Benchmark(
            "tts",
            "A synthesiser: its stages, a second of speech early and late, its first sound, memory.",
            "benchmarks.tts.stages",
        ),
        Benchmark(
            "vc",
            "A converter's stages, a chunk each, its delay and memory; original: MeanVC's own code, measured once.",
            "benchmarks.vc.stages",
        ),
        Benchmark(
            "vc-delay",
            "`speech convert --live` over a virtual sound card: the delay that is stated, and the one that is heard.",
            "benchmarks.vc_delay",
        ),
        Benchmark(
            "engine",
            "Many live streams of one model: latency, steps, overhead, memory; a card's limits; a soak.",
            "benchmarks.engine.run",
        ),
        Benchmark(
            "kernels",
            "Every kernel on a card beside its reference: microseconds, bytes, per cent of what the card could do.",
            "benchmarks.kernels.run",
        ),
        Benchmark(
            "word-times",
            "When a voice that knows its words says them, beside when forced alignment finds that it does.",
            "benchmarks.word_times",
        ),
        Benchmark("cli-help", "How long `speech --help` takes.", "benchmarks.cli_help"),
    )
}
