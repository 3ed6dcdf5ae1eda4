"""The worker that runs this project's model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.asr_step.heads import speak
from benchmarks.asr_step.signal import BEFORE, CHUNKS, log_mel, recording, speech
from benchmarks.measure import Samples
from benchmarks.worker import serve
from speech.asr.encoder import EncoderConfig
from speech.asr.greedy import RNNTGreedy
from speech.asr.model import FastConformer, FastConformerConfig
from speech.hub.nemo.weights import convert_weights
from speech.kernels.linear import pack
from speech.streaming.frames import OPEN, Frames, Place
from speech.streaming.module import Streaming
from speech.streaming.timing import phase_for


class Runner:
    """Live streams through one module, chunk after chunk of the same size. source: [b, >= CHUNKS * size, ...]."""

    def __init__(self, module: Streaming, source: Tensor, size: int, phase: int) -> None:
        self.module, self.source, self.size, self.phase = module, source, size, phase
        self.slots = torch.arange(len(source))
        self.state = module.init_state(len(source))
        self.taken = 0

    def step(self) -> Frames:
        """The next chunk of all streams; the source repeats."""
        index, t = self.taken % CHUNKS, self.size
        start = torch.full_like(self.slots, self.phase + self.taken * t)
        place = Place(start, torch.full_like(start, OPEN), t, self.phase)
        self.taken += 1
        return self.module.step(Frames(self.source[:, index * t : (index + 1) * t], place), self.state, self.slots)


class Worker:
    """A model, and what is timed: its `encoder`, its `pipeline` (samples to tokens), `floor` (reading its weights)."""

    def load(self, changes: dict[str, Any], weights: str | None) -> None:
        """Random weights, or those of a NeMo model's state dict. changes: to the encoder's full-size configuration."""
        torch.manual_seed(0)
        self.model = FastConformer(FastConformerConfig(encoder=EncoderConfig(**changes))).eval()
        if weights:
            tensors = torch.load(weights, weights_only=True)
            tensors |= {
                "preprocessor.featurizer.window": self.model.mel.window,
                "preprocessor.featurizer.fb": self.model.mel.bank,
            }
            layers = self.model.config.encoder.layers
            ours = convert_weights(tensors, layers=layers, batch_norm=False)
            self.model.load_state_dict(self.model.state_dict() | ours)
        parameters = sum(p.numel() for p in self.model.encoder.parameters())
        self.flat = torch.ones(parameters)
        pack(self.model)

    def speak(self, ahead: int, path: str) -> None:
        """Make the random heads say something at a look-ahead of `ahead` frames; the joint network goes to `path`."""
        prediction, joint, samples = self.model.prediction, self.model.joint, recording()[None]
        assert prediction and joint
        with torch.no_grad():
            frames, _ = self.model(samples, torch.tensor([samples.shape[1]]), (70, ahead))
        speak(prediction, joint, frames[0])
        torch.save(joint.state_dict(), path)
        pack(joint)

    def _decoder(self) -> RNNTGreedy:
        """Greedy search, for ten tokens a frame at most, as sherpa-onnx does it."""
        assert self.model.prediction and self.model.joint
        return RNNTGreedy(self.model.prediction, self.model.joint)

    def prepare(self, batch: int, ahead: int, threads: int) -> None:
        """Fresh streams. ahead: encoder frames of look-ahead."""
        torch.set_num_threads(threads)
        encoder, pipeline = self.model.encoder.at((70, ahead)), self.model.pipeline((70, ahead))
        mel, hop = 8 * (ahead + 1), self.model.config.mel.hop
        features = self.model.config.encoder.features
        runner = Runner(encoder, log_mel(batch, mel, features), mel, -BEFORE)
        listener = Runner(pipeline, speech(batch, mel * hop), mel * hop, phase_for(pipeline))
        decoder = self._decoder()
        spoken = decoder.init_state(batch)
        self.tokens = 0

        def listen() -> None:
            self.tokens += sum(map(len, decoder.step(listener.step(), spoken, listener.slots)))

        self.runner, self.listener = runner, listener
        self.calls: dict[str, Callable[[], Any]] = {
            "encoder": runner.step,
            "pipeline": listen,
            "floor": self.flat.sum,
        }

    @torch.inference_mode()
    def time(self, what: str, steps: int) -> dict[str, list[float]]:
        """Wall and processor seconds of each of `steps` steps."""
        samples = Samples()
        for _ in range(steps):
            samples.time(self.calls[what])
        return vars(samples)

    @torch.inference_mode()
    def difference(self, outputs: str) -> float:
        """The largest difference from another program's first outputs, [b, t, d], of a stream of this input."""
        theirs: Tensor = torch.load(outputs, weights_only=True)
        ours: list[Tensor] = []
        while sum(y.shape[1] for y in ours) < theirs.shape[1]:
            ours.append(self.runner.step().data)
        return (torch.cat(ours, 1) - theirs).abs().max().item()

    def tokens_per_frame(self) -> float:
        """Tokens that each encoder frame of the pipeline gave."""
        frames = self.listener.taken * self.listener.size / self.listener.module.down * len(self.listener.slots)
        return self.tokens / frames


if __name__ == "__main__":
    worker = Worker()
    names = ("load", "speak", "prepare", "time", "difference", "tokens_per_frame")
    serve({name: getattr(worker, name) for name in names})
