"""What a chunk costs a Whisper, by how much was heard before it.

Networks of public sizes with random weights, one stream of noise, greedy decoding held to four ids a second by its
guard, as speech has. In turns on the same sound:

* `stream`: the causal model as it runs here: the chunk's own encoder frames, keys and values extended by them.
* `from the start`: the same, and what the code of arXiv 2508.12301 computes anew for every chunk: convolutions over all
  that was heard, and the whole text in every pass of the decoder. The encoder's attention is cached there, too.
* `window again`: a plain model, as streaming on top of a file recogniser does it: a window of 30 s encoded again, and
  its text decoded from its first id.

Beyond 30 s of one utterance only `stream` goes on.

`--silence HOURS` measures something else: see `whisper_silence`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.measure import Result, Samples
from benchmarks.whisper_silence import silence
from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.guard import Guard
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.search import Request, Search
from speech.asr.whisper.tokenizer import Symbols
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import Sequential
from speech.streaming.timing import phase_for

RATE, WINDOW = 16000, 30
SPOKEN = Request(guard=Guard(times=1000, rate=4.0, burst=4))
"""Random weights never end a text and repeat themselves: the guard alone says how long it is."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--sizes", nargs="+", default=["tiny", "base"], help="of public Whispers")
    parser.add_argument("--chunk", type=int, default=300, help="milliseconds, a multiple of 20")
    parser.add_argument("--seconds", type=float, nargs="+", default=[2, 10, 25, 60], help="heard before a chunk")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--silence", type=float, metavar="HOURS", help="of silence through live streams, instead")
    parser.add_argument("--threads", type=int, default=1)


def run(options: argparse.Namespace) -> Iterator[Result]:
    """Measure each size early and late."""
    if options.smoke:
        options.sizes, options.seconds, options.repeats = ["tiny"], [1.0], 1
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    chunk = options.chunk // 20
    for size in options.sizes:
        config = WhisperConfig.public(size, (Context.causal(chunk, 2 * chunk),))
        plain = WhisperConfig.public(size)
        if options.smoke:
            config, plain = (replace(c, dim=16, encoder_heads=2, decoder_heads=2) for c in (config, plain))
        if options.silence is not None:
            for kind, c in ((f"causal, {options.chunk} ms", config), ("plain", plain)):
                yield from silence(f"{size}, {kind}", c, options.silence, options.threads)
            continue
        stream, window = Stream(Whisper(config).eval()), Whisper(plain).eval()
        for seconds in sorted(options.seconds):
            stream.hear(seconds)
            taken = {name: Samples() for name in ("stream", "from the start", "window again")}
            for _ in range(options.repeats):
                taken["stream"].time(stream.step)
                if seconds < WINDOW:
                    extra = Samples()
                    extra.time(stream.again)
                    taken["from the start"].wall.append(taken["stream"].wall[-1] + extra.wall[-1])
                    taken["from the start"].cpu.append(taken["stream"].cpu[-1] + extra.cpu[-1])
                    taken["window again"].time(lambda seconds=seconds, window=window: look(window, seconds))
            for name, samples in taken.items():
                if samples.wall:
                    case = f"{size}, {options.chunk} ms, {seconds:g} s heard: {name}"
                    yield from samples.results(case, options.threads)


class Stream:
    """One stream of noise through a causal Whisper."""

    def __init__(self, model: Whisper) -> None:
        self.model, config = model, model.config
        self.pipeline = model.pipeline().eval()
        self.search = Search(model.decoder, Symbols(config.vocabulary), SPOKEN)
        self.state, self.texts = self.pipeline.init_state(1), self.search.init_state(1)
        self.slot = torch.zeros(1, dtype=torch.long)
        self.phase = phase_for(self.pipeline)
        self.size = config.contexts[0].chunk * self.pipeline.down
        self.at, self.ids = self.phase, 0
        self.noise = torch.Generator().manual_seed(0)

    def hear(self, seconds: float) -> None:
        """Go on until so much was heard."""
        while self.at < seconds * RATE:
            self.step()

    @torch.inference_mode()
    def step(self) -> None:
        """The next chunk; the first one brings the initial block."""
        initial = self.model.config.contexts[0].initial
        count = self.size
        if self.at == self.phase:
            count = (initial - self.pipeline.first(self.phase)) * self.pipeline.down
        x = 0.1 * torch.randn(1, count, generator=self.noise)
        place = Place(self.slot + self.at, self.slot + OPEN, count, self.phase)
        frames = self.pipeline.step(Frames(x, place), self.state, self.slot)
        self.at += count
        self.ids = len(self.search.step(frames, self.texts, self.slot)[0].ids)

    @torch.inference_mode()
    def again(self) -> None:
        """What the published code computes once more for a chunk, beyond `step`."""
        mel = torch.randn(1, max(self.at // 160, 2), self.model.config.mel.features)
        front = Sequential(**dict(list(self.model.encoder.named_children())[:4]))
        heard = front(Frames.whole(mel))
        for _ in range(max(1, round(4 * self.size / RATE)) + 1):
            self.model.decoder(self._text(), heard)

    def _text(self) -> Tensor:
        return torch.randint(1000, (1, 4 + self.ids))


@torch.inference_mode()
def look(model: Whisper, seconds: float) -> None:
    """A window with so much sound in it, encoded and decoded from nothing."""
    count = round(seconds / model.config.frame)
    encoded = model.pipeline()(Frames.whole(0.1 * torch.randn(1, WINDOW * RATE))).data[:, :count]
    Search(model.decoder, Symbols(model.config.vocabulary), SPOKEN).decode(Frames.whole(encoded))
