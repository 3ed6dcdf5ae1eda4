"""The worker that runs sherpa-onnx on NeMo's export, in NeMo's environment.

A process of its own: sherpa-onnx brings another ONNX Runtime than the one that NeMo's worker loads.
"""

from __future__ import annotations

from pathlib import Path

from sherpa_onnx import OnlineRecognizer

from benchmarks.asr_step.signal import CHUNKS, speech
from benchmarks.measure import Samples
from benchmarks.worker import serve

RATE, HOP = 16000, 160


class Worker:
    """Live streams through sherpa-onnx, samples to tokens, by its greedy transducer search."""

    def load(self, folder: str) -> None:
        """Where NeMo's worker exports to."""
        self.folder = Path(folder)

    def prepare(self, batch: int, ahead: int, threads: int) -> None:
        """Fresh streams of the model exported at a look-ahead of `ahead` encoder frames."""
        path = self.folder / str(ahead)
        files = {name: str(path / f"{name}.onnx") for name in ("encoder", "decoder", "joiner")}
        self.recogniser = OnlineRecognizer.from_transducer(str(path / "tokens.txt"), **files, num_threads=threads)
        self.streams = [self.recogniser.create_stream() for _ in range(batch)]
        self.size = 8 * (ahead + 1) * HOP
        self.source = speech(batch, self.size).numpy()
        self.taken = self.decoded = 0

    def step(self) -> None:
        """The next chunk of all streams; the source repeats. The first steps may find too little sound to decode."""
        start = self.taken % CHUNKS * self.size
        self.taken += 1
        for stream, samples in zip(self.streams, self.source, strict=True):
            stream.accept_waveform(RATE, samples[start : start + self.size])
        while self.recogniser.is_ready(self.streams[0]):  # all streams are as long
            self.recogniser.decode_streams(self.streams)
            self.decoded += 1

    def time(self, what: str, steps: int) -> dict[str, list[float]]:
        """Wall and processor seconds of each of `steps` steps; `what` is "pipeline", the one thing it runs."""
        samples = Samples()
        for _ in range(steps):
            samples.time(self.step)
        return vars(samples)

    def tokens_per_frame(self) -> float:
        """Tokens that each encoder frame gave."""
        frames = self.decoded * len(self.streams) * self.size / HOP / 8
        return sum(len(self.recogniser.tokens(stream)) for stream in self.streams) / frames


if __name__ == "__main__":
    worker = Worker()
    serve({name: getattr(worker, name) for name in ("load", "prepare", "time", "tokens_per_frame")})
