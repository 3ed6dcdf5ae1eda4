"""The worker that runs NeMo's encoder, in NeMo's own environment: in PyTorch, and exported to ONNX Runtime.

ONNX Runtime on NeMo's export is what sherpa-onnx runs, without its features and its search.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import onnxruntime
import torch
from nemo.collections.asr.modules import ConformerEncoder
from torch import Tensor

from benchmarks.asr_step.signal import BEFORE, CHUNKS, log_mel
from benchmarks.measure import Samples
from benchmarks.worker import serve

CONTEXT, DROP = 9, 2  # mel frames that NeMo is fed again with each chunk, and the outputs of them that it drops


class Streams:
    """Live streams through NeMo's encoder."""

    def __init__(self, encoder: Any, batch: int, frames: int) -> None:
        self.encoder, self.frames = encoder, frames
        self.source = log_mel(batch, frames, encoder._feat_in, CONTEXT).transpose(1, 2)
        self.caches: list[Any] = list(encoder.get_initial_cache_state(batch_size=batch))
        self.taken = 0

    def step(self) -> Tensor:
        """The next chunk of all streams -> [b, d, t]."""
        start, first = self.taken % CHUNKS * self.frames, self.taken == 0
        self.taken += 1
        x = self.source[:, :, start : start + CONTEXT + self.frames]
        return self.run(x[:, :, CONTEXT + BEFORE :] if first else x, first)

    def run(self, x: Tensor, first: bool) -> Tensor:
        """One call of the encoder. x: [b, features, t]."""
        lengths = torch.full((len(x),), x.shape[2])
        drop = 0 if first else DROP
        y, _, *self.caches = self.encoder.cache_aware_stream_step(x, lengths, *self.caches, drop_extra_pre_encoded=drop)
        return y


class Exported(Streams):
    """The same in ONNX Runtime. The export has no first step of its own, so NeMo makes that one."""

    def __init__(self, encoder: Any, batch: int, frames: int, session: onnxruntime.InferenceSession) -> None:
        super().__init__(encoder, batch, frames)
        self.session = session

    def run(self, x: Tensor, first: bool) -> Tensor:
        """One call of the encoder. x: [b, features, t]."""
        if first:
            y = super().run(x, first)
            channel, time, length = (cache.numpy() for cache in self.caches)
            self.caches = [channel.swapaxes(0, 1), time.swapaxes(0, 1), length]
            return y
        names = [source.name for source in self.session.get_inputs()]
        inputs = [x.numpy(), torch.full((len(x),), x.shape[2]).numpy(), *self.caches]
        y, _, *self.caches = self.session.run(None, dict(zip(names, inputs, strict=True)))
        return torch.from_numpy(y)


class Worker:
    """An encoder with random weights and what is measured of it: `torch` and `onnx`."""

    def load(self, config: dict[str, Any], weights: str) -> None:
        """Make the encoder of an `EncoderConfig` and write its state dict to `weights`."""
        torch.manual_seed(0)
        self.encoder = ConformerEncoder(
            feat_in=config["features"],
            n_layers=config["layers"],
            d_model=config["dim"],
            n_heads=config["heads"],
            ff_expansion_factor=config["ff_expansion"],
            subsampling="dw_striding",
            subsampling_factor=8,
            subsampling_conv_channels=config["subsampling_channels"],
            causal_downsampling=True,
            self_attention_model="rel_pos",
            att_context_size=config["contexts"],
            att_context_style="chunked_limited",
            xscaling=True,
            conv_kernel_size=1 + sum(config["conv_context"]),
            conv_norm_type="layer_norm",
            conv_context_size="causal",
        ).eval()
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(False)
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))  # biases and norms that matter
        torch.save({f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}, weights)

    @torch.inference_mode()
    def prepare(self, batch: int, ahead: int, threads: int) -> None:
        """Fresh streams. ahead: encoder frames of look-ahead."""
        torch.set_num_threads(threads)
        self.encoder.set_default_att_context_size([70, ahead])
        self.encoder.setup_streaming_params(att_context_size=[70, ahead])
        frames = 8 * (ahead + 1)
        self.streams = {
            "torch": Streams(self.encoder, batch, frames),
            "onnx": Exported(self.encoder, batch, frames, self._session(threads)),
        }

    def _session(self, threads: int) -> onnxruntime.InferenceSession:
        """The encoder at its present look-ahead, exported with its caches as inputs and outputs."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "encoder.onnx")
            self.encoder.export_cache_support = True
            self.encoder.export(path, check_trace=False)
            self.encoder.export_cache_support = False
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @torch.inference_mode()
    def time(self, what: str, steps: int) -> dict[str, list[float]]:
        """Wall and processor seconds of each of `steps` steps."""
        samples = Samples()
        for _ in range(steps):
            samples.time(self.streams[what].step)
        return vars(samples)

    @torch.inference_mode()
    def outputs(self, what: str, steps: int, path: str) -> None:
        """Write the outputs of the first `steps` steps, [b, t, d], to `path`."""
        y = torch.cat([self.streams[what].step() for _ in range(steps)], 2)
        torch.save(y.transpose(1, 2).contiguous(), path)


if __name__ == "__main__":
    worker = Worker()
    serve({name: getattr(worker, name) for name in ("load", "prepare", "time", "outputs")})
