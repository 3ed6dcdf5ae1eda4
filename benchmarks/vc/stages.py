"""The definition of `vc`.

One live stream of noise at each setting, a chunk a push, as `Converter.stream` runs it, from the microphone's rate to
the speaker's. All times are of one chunk, in the median: wall time, and this process's processor time, which is what a
free core would need.

* Stages: each of the pipeline, and the parts of the network. `total` is the push, with what lies between the stages.
* `original`: the same stage of the models' own code, from `untrained.ORIGINAL`; those numbers are not measured here.
* Delay: algorithmic, computing aside; that of `total` is the converter's at its own rates, to which resampling adds.
* Real-time factor: a total over the length of a chunk.
* Early and late: the pushes that begin after so many seconds of the stream, and this process's memory there. A stream
  whose cost or memory grows shows it here.

The untrained models of MeanVC's sizes stand for any of them: times do not depend on weights, nor on what is heard.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Result, Samples
from benchmarks.transcribe import resident
from benchmarks.vc.untrained import CALLS, ORIGINAL, SETTINGS, SIZES, Setting, untrained
from speech.hub.load import load_converter
from speech.hub.models import list_models
from speech.streaming.frames import Frames
from speech.streaming.module import Count, Device, Pointwise, Sequential, State, Streaming
from speech.vc.converter import chunk_frames
from speech.vc.model import ConverterModel
from speech.vc.session import ConversionStream, Setup

PROMPT = 300  # mel frames of the target's recording: 3 s, as those of the original's times
WARM = 5  # pushes that do not count
WINDOW = 20  # pushes whose median stands for a moment of the stream


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model",
        nargs="+",
        help="names or folders of converters; meanvc, meanvc2: untrained, of these models' sizes (default: these two, "
        "and the bundled one where there is one)",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=int, default=48000, help="of microphone and speaker, Hz")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 10, 60], help="of the stream, early and late")


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Measure each model at each of its settings."""
    if options.smoke:
        options.model, options.seconds = ["tiny"], [0.5, 1]
    torch.set_num_threads(options.threads)
    for name in options.model or _usual():
        model = untrained(name) if name in SIZES else load_converter(name, "cpu").model
        for setting in SETTINGS.get(name, (_trained(model),)):
            steps = "1 step" if setting.steps == 1 else f"{setting.steps} steps"
            heard = listen(model, setting, options.rate, max(options.seconds))
            for case, metric, value, unit, repeats in (
                *stages(heard, ORIGINAL.get((name, setting), {})),
                *moments(heard, options.seconds),
            ):
                label = f"{name} {setting.chunk:g} ms {steps}: {case}"
                yield Result(label, metric, value, unit, repeats, options.threads)


def _usual() -> list[str]:
    bundled = [entry.name for entry in list_models() if entry.source == "bundled" and entry.name == "vc"]
    return [*SETTINGS, *bundled]


def _trained(model: ConverterModel) -> Setting:
    """As the model was trained."""
    network = model.config.network
    return Setting(1e3 * network.chunk * model.config.frame, network.sampling.steps)


class Clock(Streaming):
    """A stage of a pipeline that notes what its steps take."""

    def __init__(self, stage: Streaming, samples: Samples) -> None:
        super().__init__()
        self.stage, self.samples = stage, samples
        self.up, self.down, self.look_ahead = stage.up, stage.down, stage.look_ahead

    @property
    def grain(self) -> int:
        return self.stage.grain

    def first(self, start: int) -> int:
        return self.stage.first(start)

    def total(self, count: Count) -> Count:
        return self.stage.total(count)

    def init_state(self, slots: int, device: Device = None, dtype: torch.dtype | None = None) -> State:
        return self.stage.init_state(slots, device, dtype)

    def step(self, frames: Frames, state: State, slots: Tensor) -> Frames:
        wall, cpu = time.perf_counter(), time.process_time()
        out = self.stage.step(frames, state, slots)
        self.samples.cpu.append(time.process_time() - cpu)
        self.samples.wall.append(time.perf_counter() - wall)
        return out


def clocked(stages: Sequential, taken: dict[str, Samples], whole: str = "") -> Sequential:
    """The same stages behind clocks, which note into `taken`; of the network, its parts too.

    whole: what the stages are parts of, for their names in `taken`.
    """
    clocks: dict[str, Clock] = {}
    for name, stage in stages.named_children():
        case = whole + name.replace("_", " ")
        samples = taken[case] = Samples()
        if name == "network" and isinstance(stage, Sequential):
            stage = clocked(stage, taken, "network, ")
        clocks[name] = Clock(stage if isinstance(stage, Streaming) else Pointwise(stage), samples)
    return Sequential(**clocks)


@dataclass
class Heard:
    """A stream that ran. chunk, push: seconds; a push may hold several chunks. taken: seconds by stage and push.

    delays: seconds, of the converter at its own rates as `total`, and of the resampling stages. memory: bytes after
    every push.
    """

    chunk: float
    push: float
    delays: dict[str, float]
    taken: dict[str, Samples]
    memory: list[int] = field(default_factory=list)


def listen(model: ConverterModel, setting: Setting, rate: int, seconds: float) -> Heard:
    """Run a stream at `rate` Hz for so long, and a little longer."""
    config, taken = model.config, dict[str, Samples]()
    frames = chunk_frames(setting.chunk, config)
    sampling = replace(config.network.sampling, steps=setting.steps, times=None)
    network, contents = model.network.at(frames), model.contents(frames)
    with torch.no_grad():
        speaker, mel = torch.randn(1, config.network.speaker), torch.randn(1, PROMPT, config.network.mel)
        target, stage = network.target(speaker, mel), network.pipeline(PROMPT, sampling)
    own = model.pipeline(contents, stage, config.sample_rate, config.vocoder.sample_rate)
    pipeline = clocked(model.pipeline(contents, stage, rate, rate), taken)
    stream = ConversionStream(Setup(pipeline, rate, rate), lambda _: target, "random")
    total = taken["total"] = Samples()
    delays = {
        "resampling in": stream.latency.resampling_in,
        "resampling out": stream.latency.resampling_out,
        "total": Setup(own, config.sample_rate, config.vocoder.sample_rate).latency.total,
    }
    heard = Heard(setting.chunk / 1e3, pipeline.grain / rate, delays, taken)
    draw = np.random.default_rng(0)
    for _ in range(round(seconds / heard.push) + WINDOW):
        x = (0.1 * draw.standard_normal(pipeline.grain)).astype(np.float32)
        total.time(lambda x=x: stream.push(x))
        heard.memory.append(resident())
    return heard


Row = tuple[str, str, float, str, int]
"""Case, metric, value, unit, measurements."""


def stages(heard: Heard, original: dict[str, tuple[float, float]]) -> Iterator[Row]:
    """What each stage takes for a chunk, beside the original."""
    share = heard.chunk / heard.push
    for case, samples in heard.taken.items():
        wall, cpu = samples.wall[WARM:], samples.cpu[WARM:]
        yield case, "wall", 1e3 * share * median(wall), "ms", len(wall)
        yield case, "cpu", 1e3 * share * median(cpu), "ms", len(cpu)
        if case in original:
            yield case, "original wall", original[case][0], "ms", CALLS
            yield case, "original cpu", original[case][1], "ms", CALLS
        if case in heard.delays:
            yield case, "delay", 1e3 * heard.delays[case], "ms", 1
        if case == "total":
            yield case, "real-time factor", median(wall) / heard.push, "wall", len(wall)
            yield case, "real-time factor", median(cpu) / heard.push, "cpu", len(cpu)


def moments(heard: Heard, seconds: list[float]) -> Iterator[Row]:
    """What a chunk takes, and the memory, after so many seconds of the stream."""
    share, total = heard.chunk / heard.push, heard.taken["total"]
    for second in seconds:
        begin = round(second / heard.push)
        wall, cpu = total.wall[begin : begin + WINDOW], total.cpu[begin : begin + WINDOW]
        yield f"after {second:g} s", "wall", 1e3 * share * median(wall), "ms", len(wall)
        yield f"after {second:g} s", "cpu", 1e3 * share * median(cpu), "ms", len(cpu)
        yield f"after {second:g} s", "memory", heard.memory[begin] / 2**20, "MiB", 1
