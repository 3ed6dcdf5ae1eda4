"""The content encoder and the speaker encoder that MeanVC uses, under this project's names and layouts.

Names and sizes only: whether every tensor has the shape that the configuration asks for, `checkpoint.build` sees to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import glu

from speech.audio.mel import WENET_FBANK, LogMel
from speech.content.ecapa import DILATIONS, ECAPAConfig
from speech.content.u2pp import U2PPConfig
from speech.content.wavlm import WavLMConfig, WavLMSpeakerConfig
from speech.errors import SpeechError
from speech.hub.rename import count, joined, renamed, shape_of

U2PP, SPEAKER = "a Fast-U2++ encoder", "a WavLM speaker encoder"

_ATTENTION = "attention.branch.attention"
_LAYER = {
    "norm_ff_macaron": "ff1.branch.module.norm",
    "feed_forward_macaron.w_1": "ff1.branch.module.up",
    "feed_forward_macaron.w_2": "ff1.branch.module.down",
    "norm_mha": "attention.branch.norm",
    "self_attn": _ATTENTION,
    **{f"self_attn.linear_{x}": f"{_ATTENTION}.{x}" for x in "qkv"},
    "self_attn.linear_out": f"{_ATTENTION}.out",
    "self_attn.linear_pos": f"{_ATTENTION}.pos",
    "norm_conv": "conv.branch.norm",
    "conv_module.pointwise_conv1": "conv.branch.gate",
    "conv_module.depthwise_conv": "conv.branch.depthwise",
    "conv_module.norm": "conv.branch.inner_norm",
    "conv_module.pointwise_conv2": "conv.branch.out",
    "norm_ff": "ff2.branch.module.norm",
    "feed_forward.w_1": "ff2.branch.module.up",
    "feed_forward.w_2": "ff2.branch.module.down",
    "norm_final": "norm",
}
_IDLE = (".non_streaming_conv.", ".pos_enc.", ".concat_linear.")  # the last: old WeNet made it, used or not

_WAVLM = "feature_extract.model"
_WAVLM_LAYER = {
    "self_attn_layer_norm": "attention_norm",
    "self_attn": "attention",
    **{f"self_attn.{x}_proj": f"attention.{x}" for x in "qkv"},
    "self_attn.out_proj": "attention.out",
    "self_attn.grep_linear": "attention.gate",
    "final_layer_norm": "ff_norm",
    "fc1": "ff.0",
    "fc2": "ff.2",
}
_TRAINING = ("loss_calculator.", f"{_WAVLM}.mask_emb")


def from_u2pp(tensors: Mapping[str, Tensor], chunk: int = 5) -> tuple[U2PPConfig, dict[str, Tensor]]:
    """The tensors of `fastu2++.pt`, or of a WeNet U2++ model, to a `U2PPEncoder`'s configuration and state dict.

    chunk: frames of 40 ms, which show in no tensor (see `U2PPConfig`). Of two convolution modules in a layer, the
    streaming one is taken. Query, key and value become one matrix, convolutions of kernel 1 linear layers, the output
    layer of the subsampling reads frequency-first frames.

    Raises:
        SpeechError: layers are missing, left over or of sizes that do not fit one another.
    """
    ours = {
        name.removeprefix("encoder.").replace(".streaming_conv.", "."): tensor
        for name, tensor in tensors.items()
        if name.startswith("encoder.") and not any(part in name for part in _IDLE)
    }
    config = U2PPConfig(
        mel=replace(WENET_FBANK, features=shape_of(ours, "global_cmvn.mean", 1, U2PP)[0]),
        dim=shape_of(ours, "embed.out.0.weight", 2, U2PP)[0],
        layers=count(ours, "encoders."),
        heads=shape_of(ours, "encoders.0.self_attn.pos_bias_u", 2, U2PP)[0],
        ff_hidden=shape_of(ours, "encoders.0.feed_forward.w_1.weight", 2, U2PP)[0],
        kernel=shape_of(ours, "encoders.0.conv_module.depthwise_conv.weight", 3, U2PP)[2],
        chunk=chunk,
    )
    names = {
        "global_cmvn": "mel_norm",
        "embed.conv.0": "subsampling.conv0",
        "embed.conv.2": "subsampling.conv1",
        "embed.out.0": "subsampling.out",
        "after_norm": "norm",
    }
    for i in range(config.layers):
        names |= {f"encoders.{i}.{public}": f"layers.{i}.{own}" for public, own in _LAYER.items()}
    out = _laid_out(joined(renamed(ours, names, U2PP), U2PP), config)
    return config, out | {f"mel.{name}": tensor for name, tensor in LogMel(config.mel).state_dict().items()}


def _laid_out(tensors: Mapping[str, Tensor], config: U2PPConfig) -> dict[str, Tensor]:
    """Tensors under our names in our layouts."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        if name == "mel_norm.istd":
            out["mel_norm.scale"] = tensor
        elif name == "subsampling.out.weight" and tensor.shape[1] % config.dim == 0:  # [d, c * f] -> [d, f * c]
            out[name] = tensor.unflatten(1, (config.dim, -1)).mT.flatten(1)
        elif part.startswith("pos_bias_"):
            out[f"{layer}.{part[-1]}"] = tensor
        else:
            kernel = layer.endswith((".gate", "conv.branch.out")) and tensor.dim() == 3
            out[name] = tensor.flatten(1) if kernel else tensor
    for i in range(config.layers):
        _level(out, f"layers.{i}.conv.branch", config)
    return out


def _level(tensors: dict[str, Tensor], conv: str, config: U2PPConfig) -> None:
    """Let a convolution start as WeNet's does: it pads in front of the gate, behind which padding is GLU(bias).

    With x less that level, zeros are padding; the bias of the depthwise convolution makes up for it.
    """
    names = [f"{conv}.{name}" for name in ("gate.bias", "depthwise.bias", "depthwise.weight")]
    shapes = [(2 * config.dim,), (config.dim,), (config.dim, 1, config.kernel)]
    if [tensors[name].shape if name in tensors else None for name in names] != shapes:
        return  # `checkpoint.build` tells what is wrong
    gate, bias, weight = (tensors[name] for name in names)
    tensors[f"{conv}.level.level"] = level = glu(gate, 0)
    tensors[f"{conv}.depthwise.bias"] = bias + level * weight.sum((1, 2))


def from_wavlm_ecapa(tensors: Mapping[str, Tensor]) -> tuple[WavLMSpeakerConfig, dict[str, Tensor]]:
    """The group "model" of `wavlm_large_finetune.pth` to a `WavLMSpeakerEncoder`'s configuration and state dict.

    WavLM's strides and its farthest distance show in no tensor: they are those of WavLM-Large. Query, key and value
    become one matrix, gain and direction of the position convolution its weight, eight outputs of a gate the two sums
    that count. What serves training alone is left out.

    Raises:
        SpeechError: layers are missing, left over or of sizes that do not fit one another.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_TRAINING)}
    config = WavLMSpeakerConfig(_wavlm_config(tensors), _ecapa_config(tensors))
    mix = tensors.pop("feature_weight", None)
    names = dict([*_wavlm_names(config.wavlm), *_ecapa_names(config.ecapa)])
    out = _plain_wavlm(joined(renamed(tensors, names, SPEAKER), SPEAKER))
    return config, out if mix is None else out | {"mix": mix}


def _wavlm_config(tensors: Mapping[str, Tensor]) -> WavLMConfig:
    usual = WavLMConfig()
    front = f"{_WAVLM}.feature_extractor.conv_layers"
    convs = count(tensors, f"{front}.")
    dim, group, kernel = shape_of(tensors, f"{_WAVLM}.encoder.pos_conv.0.weight_v", 3, SPEAKER)
    buckets, heads = shape_of(
        tensors, f"{_WAVLM}.encoder.layers.0.self_attn.relative_attention_bias.weight", 2, SPEAKER
    )
    return WavLMConfig(
        dim=dim,
        layers=count(tensors, f"{_WAVLM}.encoder.layers."),
        heads=heads,
        ff_hidden=shape_of(tensors, f"{_WAVLM}.encoder.layers.0.fc1.weight", 2, SPEAKER)[0],
        conv_channels=shape_of(tensors, f"{front}.0.0.weight", 3, SPEAKER)[0],
        conv_kernels=tuple(shape_of(tensors, f"{front}.{i}.0.weight", 3, SPEAKER)[2] for i in range(convs)),
        conv_strides=usual.conv_strides[:convs],
        position_kernel=kernel,
        position_groups=dim // group,
        buckets=buckets,
    )


def _ecapa_config(tensors: Mapping[str, Tensor]) -> ECAPAConfig:
    channels, features, _ = shape_of(tensors, "layer1.conv.weight", 3, SPEAKER)
    return ECAPAConfig(
        features=features,
        channels=channels,
        scale=count(tensors, "layer2.Res2Conv1dReluBn.convs.") + 1,
        squeeze=shape_of(tensors, "layer2.SE_Connect.linear1.weight", 2, SPEAKER)[0],
        pooled=shape_of(tensors, "conv.weight", 3, SPEAKER)[0],
        attention=shape_of(tensors, "pooling.linear1.weight", 3, SPEAKER)[0],
        dim=shape_of(tensors, "linear.weight", 2, SPEAKER)[0],
    )


def _wavlm_names(config: WavLMConfig) -> Iterator[tuple[str, str]]:
    """Public and own names of all layers of WavLM."""
    for i in range(len(config.conv_kernels)):
        source = f"{_WAVLM}.feature_extractor.conv_layers.{i}"
        yield from {f"{source}.0": f"wavlm.front.{i}.conv", f"{source}.2.1": f"wavlm.front.{i}.norm"}.items()
    encoder = f"{_WAVLM}.encoder"
    yield f"{_WAVLM}.layer_norm", "wavlm.front_norm"
    yield f"{_WAVLM}.post_extract_proj", "wavlm.project"
    yield f"{encoder}.pos_conv.0", "wavlm.position.conv"
    yield f"{encoder}.layers.0.self_attn.relative_attention_bias", "wavlm.bias"
    yield f"{encoder}.layer_norm", "wavlm.norm"
    for i in range(config.layers):
        for public, own in _WAVLM_LAYER.items():
            yield f"{encoder}.layers.{i}.{public}", f"wavlm.layers.{i}.{own}"


def _ecapa_names(config: ECAPAConfig) -> Iterator[tuple[str, str]]:
    """Public and own names of all layers of ECAPA-TDNN."""
    yield from {"layer1.conv": "ecapa.first.conv", "layer1.bn": "ecapa.first.norm"}.items()
    for i in range(len(DILATIONS)):
        source, target = f"layer{i + 2}", f"ecapa.blocks.{i}.branch"
        for theirs, ours in (("Conv1dReluBn1", 0), ("Conv1dReluBn2", 2)):
            yield f"{source}.{theirs}.conv", f"{target}.{ours}.conv"
            yield f"{source}.{theirs}.bn", f"{target}.{ours}.norm"
        for j in range(config.scale - 1):
            yield f"{source}.Res2Conv1dReluBn.convs.{j}", f"{target}.1.groups.{j}.conv"
            yield f"{source}.Res2Conv1dReluBn.bns.{j}", f"{target}.1.groups.{j}.norm"
        yield f"{source}.SE_Connect.linear1", f"{target}.3.squeeze"
        yield f"{source}.SE_Connect.linear2", f"{target}.3.excite"
    yield "conv", "ecapa.merge"
    yield from {"pooling.linear1": "ecapa.pool.score.0", "pooling.linear2": "ecapa.pool.score.2"}.items()
    yield from {"bn": "ecapa.pool_norm", "linear": "ecapa.out"}.items()


def _plain_wavlm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under our names with the position convolution and the gates of the attention as we compute them."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        if part == "grep_a":
            out[f"{layer}.scale"] = tensor.flatten()
        elif layer.endswith("attention.gate") and len(tensor) == 8:  # [a1 .. a4, b1 .. b4] are summed to a and b
            out[name] = tensor.unflatten(0, (2, 4)).sum(1)
        elif part == "weight_v":
            gain = tensors.get(f"{layer}.weight_g", torch.empty(0))
            if gain.shape != (1, 1, tensor.shape[2]):
                raise SpeechError(
                    f"expected a gain for each of the {tensor.shape[2]} taps of {SPEAKER}'s position convolution, got "
                    f"shape {list(gain.shape)}: take the file of that model"
                )
            out[f"{layer}.weight"] = gain * tensor / tensor.norm(dim=(0, 1), keepdim=True)
        elif part != "weight_g":
            out[name] = tensor
    return out
