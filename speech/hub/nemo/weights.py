"""The weights of a NeMo FastConformer under this project's names and layouts."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from speech.errors import SpeechError

IGNORED = frozenset({"encoder.pos_enc.pe"})  # a table of sines that old files carry; it is computed here

_LAYER = {
    "norm_feed_forward1": "ff1.branch.module.norm",
    "feed_forward1.linear1": "ff1.branch.module.up",
    "feed_forward1.linear2": "ff1.branch.module.down",
    "norm_self_att": "attention.branch.norm",
    "self_attn.linear_out": "attention.branch.attention.out",
    "self_attn.linear_pos": "attention.branch.attention.pos",
    "norm_conv": "conv.branch.norm",
    "conv.pointwise_conv1": "conv.branch.gate",
    "conv.depthwise_conv": "conv.branch.depthwise",
    "conv.pointwise_conv2": "conv.branch.out",
    "norm_feed_forward2": "ff2.branch.module.norm",
    "feed_forward2.linear1": "ff2.branch.module.up",
    "feed_forward2.linear2": "ff2.branch.module.down",
    "norm_out": "norm",
}
_SUBSAMPLING = {
    "conv.0": "conv0",
    "conv.2": "conv1",
    "conv.3": "mix1.module",
    "conv.5": "conv2",
    "conv.6": "mix2.module",
}


class Weights:
    """A foreign state dict from which tensors are taken, each once, so that what is left over can be named."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._left = {name: tensor for name, tensor in tensors.items() if name not in IGNORED}
        self.out: dict[str, Tensor] = {}

    def take(self, name: str) -> Tensor:
        """Remove and return one tensor."""
        if name not in self._left:
            raise SpeechError(f"expected the tensor {name} in the .nemo file, it is missing: the file is not complete")
        return self._left.pop(name)

    def move(self, source: str, target: str, change: Callable[[Tensor], Tensor] | None = None) -> None:
        """Take `source.weight` and, where there is one, `source.bias` to `target`; `change` reshapes the weight."""
        weight = self.take(f"{source}.weight")
        self.out[f"{target}.weight"] = change(weight) if change else weight
        if f"{source}.bias" in self._left:
            self.out[f"{target}.bias"] = self.take(f"{source}.bias")

    def find(self, pattern: str) -> list[re.Match[str]]:
        """Matches of `pattern` with the names that are left."""
        return [match for name in self._left if (match := re.fullmatch(pattern, name))]

    def finish(self) -> dict[str, Tensor]:
        """The converted tensors; an error names the first foreign tensors that nobody took."""
        if self._left:
            names = sorted(self._left)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise SpeechError(
                f"expected only tensors of a FastConformer in the .nemo file, it also holds {', '.join(names[:3])}"
                f"{more}: this variant of the model is not supported"
            )
        return self.out


def convert_weights(tensors: dict[str, Tensor], *, layers: int, batch_norm: bool) -> dict[str, Tensor]:
    """A NeMo state dict to the state dict of `asr.model.FastConformer`.

    Query, key and value become one matrix, convolutions of kernel 1 become linear layers, and the subsampling's output
    layer reads frequency-first frames instead of channel-first ones. Heads are found by the names that are there.

    Raises:
        SpeechError: a tensor is missing, or one is left over.
    """
    weights = Weights(tensors)
    weights.out["mel.window"] = weights.take("preprocessor.featurizer.window")
    weights.out["mel.bank"] = weights.take("preprocessor.featurizer.fb").squeeze(0)
    _subsampling(weights)
    for i in range(layers):
        _layer(weights, f"encoder.layers.{i}", batch_norm=batch_norm)
    _transducer(weights)
    for name in ("ctc_decoder", "decoder"):  # a hybrid's head, a pure CTC model's head
        if weights.find(rf"{name}\.decoder_layers\.0\.weight"):
            weights.move(f"{name}.decoder_layers.0", "ctc.out", _linear)
    return weights.finish()


def _linear(weight: Tensor) -> Tensor:
    """A convolution of kernel 1, [out, in, 1] or [out, in, 1, 1], as a linear layer [out, in]."""
    return weight.flatten(1)


def _subsampling(weights: Weights) -> None:
    source, target = "encoder.pre_encode", "encoder.subsampling"
    for theirs, ours in _SUBSAMPLING.items():
        weights.move(f"{source}.{theirs}", f"{target}.{ours}", _linear if ours.startswith("mix") else None)
    channels = len(weights.out[f"{target}.conv2.weight"])
    # [d, c * f] -> [d, f * c]
    weights.move(f"{source}.out", f"{target}.out.module", lambda w: w.unflatten(1, (channels, -1)).mT.flatten(1))


def _layer(weights: Weights, source: str, *, batch_norm: bool) -> None:
    target = source
    for theirs, ours in _LAYER.items():
        weights.move(f"{source}.{theirs}", f"{target}.{ours}", _linear if "pointwise" in theirs else None)
    attention = f"{target}.attention.branch.attention"
    for part in ("weight", "bias"):
        if weights.find(re.escape(f"{source}.self_attn.linear_q.{part}")):
            parts = [weights.take(f"{source}.self_attn.linear_{x}.{part}") for x in "qkv"]
            weights.out[f"{attention}.qkv.{part}"] = torch.cat(parts)
    for x in "uv":
        weights.out[f"{attention}.{x}"] = weights.take(f"{source}.self_attn.pos_bias_{x}")
    norm, inner = f"{source}.conv.batch_norm", f"{target}.conv.branch.inner_norm"  # "batch_norm" whatever its kind
    if batch_norm:
        weights.move(norm, f"{inner}.norm")
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            weights.out[f"{inner}.norm.{name}"] = weights.take(f"{norm}.{name}")
    else:
        weights.move(norm, inner)


def _transducer(weights: Weights) -> None:
    """Prediction and joint networks, where the file has them."""
    if not weights.find(r"decoder\.prediction\..*"):
        return
    weights.out["prediction.embed.weight"] = weights.take("decoder.prediction.embed.weight")
    for match in weights.find(r"decoder\.prediction\.dec_rnn\.lstm\.(.+)"):
        weights.out[f"prediction.lstm.{match[1]}"] = weights.take(match[0])
    weights.move("joint.enc", "joint.enc")
    weights.move("joint.pred", "joint.pred")
    found = weights.find(r"joint\.joint_net\.\d+\.weight")  # its index depends on whether the file's net has dropout
    if len(found) != 1:
        raise SpeechError(f"expected one linear layer in joint.joint_net of the .nemo file, got {len(found)}")
    weights.move(found[0][0].removesuffix(".weight"), "joint.out")
