"""The worker that runs NeMo's encoder, in NeMo's own environment: in PyTorch, and exported to ONNX Runtime.

It also exports the whole transducer for sherpa-onnx, with the metadata that sherpa-onnx reads from a NeMo model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from nemo.collections.asr.modules import ConformerEncoder, RNNTDecoder, RNNTJoint
from torch import Tensor

from benchmarks.asr_step.signal import BEFORE, CHUNKS, log_mel
from benchmarks.measure import Samples
from benchmarks.worker import serve

CONTEXT, DROP = 9, 2  # mel frames that NeMo is fed again with each chunk, and the outputs of them that it drops


class Streams:
    """Live streams through NeMo's encoder."""

    def __init__(self, encoder: Any, batch: int, frames: int) -> None:
        self.encoder, self.frames, home = encoder, frames, next(encoder.parameters())
        self.source = log_mel(batch, frames, encoder._feat_in, CONTEXT).transpose(1, 2).to(home)
        self.caches: list[Any] = list(encoder.get_initial_cache_state(batch_size=batch, dtype=home.dtype))
        self.taken = 0

    def step(self) -> Tensor:
        """The next chunk of all streams -> [b, d, t]."""
        start, first = self.taken % CHUNKS * self.frames, self.taken == 0
        self.taken += 1
        x = self.source[:, :, start : start + CONTEXT + self.frames]
        return self.run(x[:, :, CONTEXT + BEFORE :] if first else x, first)

    def run(self, x: Tensor, first: bool) -> Tensor:
        """One call of the encoder. x: [b, features, t]."""
        lengths = torch.full((len(x),), x.shape[2], device=x.device)
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
    """A model with random weights and what is measured of its encoder: `torch` and `onnx`."""

    def load(self, config: dict[str, Any], weights: str, folder: str) -> None:
        """Make the model of a `FastConformerConfig`, write its state dict to `weights`; exports go to `folder`."""
        torch.manual_seed(0)
        self.folder = Path(folder)
        self.encoder = _encoder(config["encoder"])
        heads, vocabulary = config["prediction"], config["vocabulary"]
        net = {"pred_hidden": heads["dim"], "pred_rnn_layers": heads["layers"]}
        self.decoder = RNNTDecoder(net, vocabulary)
        net = {"pred_hidden": heads["dim"], "encoder_hidden": config["encoder"]["dim"]}
        self.joint = RNNTJoint(net | {"joint_hidden": heads["joint_dim"], "activation": "relu"}, vocabulary)
        parts = {"encoder": self.encoder, "decoder": self.decoder, "joint": self.joint}
        for part in parts.values():
            part.eval().requires_grad_(False)
        for parameter in self.encoder.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))  # biases and norms that matter
        state = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
        torch.save(state, weights)

    def load_encoder(self, config: dict[str, Any], device: str, dtype: str) -> None:
        """Make the encoder of an `EncoderConfig` alone, with random weights."""
        torch.manual_seed(0)
        self.encoder = _encoder(config).eval().requires_grad_(False).to(device, getattr(torch, dtype))

    def export(self, ahead: int, joint: str) -> None:
        """Write the model as sherpa-onnx reads it, at a look-ahead of `ahead` frames; joint: weights of its joint."""
        path = self.folder / str(ahead)
        path.mkdir()
        self._look(ahead)
        layers = {"enc": self.joint.enc, "pred": self.joint.pred, "out": self.joint.joint_net[-1]}
        for name, value in torch.load(joint, weights_only=True).items():
            layer, kind = name.split(".")
            getattr(layers[layer], kind).copy_(value)
        self.encoder.export_cache_support = True
        self.encoder.export(str(path / "encoder.onnx"), check_trace=False)
        self.encoder.export_cache_support = False
        self.decoder.export(str(path / "decoder.onnx"), check_trace=False)
        self.joint.export(str(path / "joiner.onnx"), check_trace=False)
        model = onnx.load(path / "encoder.onnx")
        onnx.helper.set_model_props(model, {key: str(value) for key, value in self._properties(ahead).items()})
        onnx.save(model, path / "encoder.onnx")
        names = [*(f"t{i}" for i in range(self.decoder.vocab_size)), "<blk>"]
        (path / "tokens.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(names)))

    def _properties(self, ahead: int) -> dict[str, Any]:
        """What sherpa-onnx wants to know of a NeMo encoder; a window is a chunk with the frames fed again."""
        streaming, chunk = self.encoder.streaming_cfg, 8 * (ahead + 1)
        channel = (len(self.encoder.layers), streaming.last_channel_cache_size, self.encoder.d_model)
        time = (len(self.encoder.layers), self.encoder.d_model, self.encoder.conv_context_size[0])
        return {
            "model_type": "EncDecRNNTBPEModel",
            "model_author": "NeMo",
            "version": 1,
            "vocab_size": self.decoder.vocab_size,
            "normalize_type": "NA",
            "subsampling_factor": 8,
            "window_size": CONTEXT + chunk,
            "chunk_shift": chunk,
            "pred_rnn_layers": self.decoder.pred_rnn_layers,
            "pred_hidden": self.decoder.pred_hidden,
            **{f"cache_last_channel_dim{i}": size for i, size in enumerate(channel, 1)},
            **{f"cache_last_time_dim{i}": size for i, size in enumerate(time, 1)},
        }

    @torch.inference_mode()
    def prepare(self, batch: int, ahead: int, threads: int) -> None:
        """Fresh streams. ahead: encoder frames of look-ahead, at which the model has been exported."""
        torch.set_num_threads(threads)
        self.join(batch, ahead)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        exported = self.folder / str(ahead) / "encoder.onnx"
        session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
        self.streams["onnx"] = Exported(self.encoder, batch, 8 * (ahead + 1), session)

    @torch.inference_mode()
    def join(self, batch: int, ahead: int) -> None:
        """Fresh streams through the encoder in PyTorch. ahead: encoder frames of look-ahead."""
        self._look(ahead)
        self.streams = {"torch": Streams(self.encoder, batch, 8 * (ahead + 1))}

    def _look(self, ahead: int) -> None:
        """Set the encoder's look-ahead."""
        self.encoder.set_default_att_context_size([70, ahead])
        self.encoder.setup_streaming_params(att_context_size=[70, ahead])

    @torch.inference_mode()
    def time(self, what: str, steps: int) -> dict[str, list[float]]:
        """Wall and processor seconds of each of `steps` steps."""
        samples, streams = Samples(), self.streams[what]

        def step() -> None:
            streams.step()
            if streams.source.is_cuda:
                torch.cuda.synchronize()

        for _ in range(steps):
            samples.time(step)
        return vars(samples)

    @torch.inference_mode()
    def outputs(self, what: str, steps: int, path: str) -> None:
        """Write the outputs of the first `steps` steps, [b, t, d], to `path`."""
        y = torch.cat([self.streams[what].step() for _ in range(steps)], 2)
        torch.save(y.transpose(1, 2).contiguous(), path)


def _encoder(config: dict[str, Any]) -> ConformerEncoder:
    """NeMo's encoder of an `EncoderConfig`."""
    return ConformerEncoder(
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
        use_bias=config["bias"],
        conv_kernel_size=1 + sum(config["conv_context"]),
        conv_norm_type="layer_norm",
        conv_context_size="causal",
    )


if __name__ == "__main__":
    worker = Worker()
    names = ("load", "load_encoder", "export", "prepare", "join", "time", "outputs")
    serve({name: getattr(worker, name) for name in names})
