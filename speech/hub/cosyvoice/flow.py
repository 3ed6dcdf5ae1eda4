"""The weights of CosyVoice 2's and 3's `flow.pt` under this project's names and layouts.

Names and sizes only: whether every tensor has the shape that the configuration asks for, `checkpoint.build` sees to.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from speech.flow.dit import DiTConfig
from speech.flow.encoder import EncoderConfig
from speech.flow.model import FlowConfig
from speech.flow.unet import UNetConfig
from speech.hub.rename import count, joined, renamed, shape_of

SOURCE = "CosyVoice's flow.pt"
IGNORED = frozenset({"decoder.estimator.rotary_embed.inv_freq"})  # computed here
_NET = "decoder.estimator"
_ATTENTION = "attention.branch.layer"
_ENCODER_LAYER = {
    "norm_mha": "attention.branch.norm",
    "self_attn": _ATTENTION,
    **{f"self_attn.linear_{x}": f"{_ATTENTION}.{x}" for x in "qkv"},
    "self_attn.linear_out": f"{_ATTENTION}.out",
    "self_attn.linear_pos": f"{_ATTENTION}.pos",
    "norm_ff": "ff.branch.norm",
    "feed_forward.w_1": "ff.branch.layer.up",
    "feed_forward.w_2": "ff.branch.layer.down",
}
_RESNET = {
    **{
        f"{block}.block.{i}": f"{block}.{part}"
        for block in ("block1", "block2")
        for i, part in ((0, "conv"), (2, "norm"))
    },
    "res_conv": "skip",
}
_UNET_LAYER = {
    "norm1": "attention.branch.norm",
    **{f"attn1.to_{x}": f"{_ATTENTION}.{x}" for x in "qkv"},
    "attn1.to_out.0": f"{_ATTENTION}.out",
    "norm3": "ff.branch.norm",
    "ff.net.0.proj": "ff.branch.layer.up",
    "ff.net.2": "ff.branch.layer.down",
}
_DIT_LAYER = {
    **{f"attn.to_{x}": f"attention.{x}" for x in "qkv"},
    "attn.to_out.0": "attention.out",
    "ff.ff.0.0": "ff.up",
    "ff.ff.2": "ff.down",
}


def from_cosyvoice_flow(tensors: Mapping[str, Tensor], head_dim: int = 64) -> tuple[FlowConfig, dict[str, Tensor]]:
    """The tensors of `flow.pt` to the configuration and the state dict of a `Flow`.

    Version 2 is told from 3 by the names of its velocity network. head_dim, of that network's attention, shows in no
    tensor. Query, key and value become one matrix, convolutions of kernel 1 become linear layers.

    Raises:
        SpeechError: layers are missing, left over or of sizes that do not fit one another.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if name not in IGNORED}
    third = f"{_NET}.proj_out.weight" in tensors
    vocabulary, dim = shape_of(tensors, "input_embedding.weight", 2, SOURCE)
    speaker = shape_of(tensors, "spk_embed_affine_layer.weight", 2, SOURCE)[1]
    encoder = _plain_encoder(tensors, dim) if third else _encoder(tensors, dim)
    estimator = _dit(tensors, head_dim) if third else _unet(tensors, head_dim)
    names = {"input_embedding": "embedding", "spk_embed_affine_layer": "speaker"}
    names |= _ahead_names("pre_lookahead_layer" if encoder.plain else "encoder.pre_lookahead_layer")
    names |= {} if encoder.plain else _encoder_names(encoder)
    names |= _unet_names(estimator) if isinstance(estimator, UNetConfig) else _dit_names(estimator)
    config = FlowConfig(vocabulary, speaker, encoder, estimator)
    return config, _laid_out(renamed(tensors, names, SOURCE))


def _plain_encoder(tensors: Mapping[str, Tensor], dim: int) -> EncoderConfig:
    hidden, _, kernel = shape_of(tensors, "pre_lookahead_layer.conv1.weight", 3, SOURCE)
    return EncoderConfig(dim=dim, look_ahead=kernel - 1, ahead_hidden=hidden, layers=0, up_layers=0)


def _encoder(tensors: Mapping[str, Tensor], dim: int) -> EncoderConfig:
    hidden, _, kernel = shape_of(tensors, "encoder.pre_lookahead_layer.conv1.weight", 3, SOURCE)
    return EncoderConfig(
        dim=dim,
        look_ahead=kernel - 1,
        ahead_hidden=hidden,
        layers=count(tensors, "encoder.encoders."),
        up_layers=count(tensors, "encoder.up_encoders."),
        heads=shape_of(tensors, "encoder.encoders.0.self_attn.pos_bias_u", 2, SOURCE)[0],
        ff_hidden=shape_of(tensors, "encoder.encoders.0.feed_forward.w_1.weight", 2, SOURCE)[0],
    )


def _unet(tensors: Mapping[str, Tensor], head_dim: int) -> UNetConfig:
    layer = f"{_NET}.down_blocks.0.1.0"
    inner, dim = shape_of(tensors, f"{layer}.attn1.to_q.weight", 2, SOURCE)
    return UNetConfig(
        mel=shape_of(tensors, f"{_NET}.final_proj.weight", 3, SOURCE)[0],
        dim=dim,
        time_dim=shape_of(tensors, f"{_NET}.time_mlp.linear_1.weight", 2, SOURCE)[0],
        layers=count(tensors, f"{_NET}.down_blocks.0.1."),
        middle=count(tensors, f"{_NET}.mid_blocks."),
        heads=inner // head_dim,
        head_dim=head_dim,
        ff_expansion=shape_of(tensors, f"{layer}.ff.net.0.proj.weight", 2, SOURCE)[0] // dim,
    )


def _dit(tensors: Mapping[str, Tensor], head_dim: int) -> DiTConfig:
    layer = f"{_NET}.transformer_blocks.0"
    inner, dim = shape_of(tensors, f"{layer}.attn.to_q.weight", 2, SOURCE)
    return DiTConfig(
        mel=shape_of(tensors, f"{_NET}.proj_out.weight", 2, SOURCE)[0],
        dim=dim,
        layers=count(tensors, f"{_NET}.transformer_blocks."),
        heads=inner // head_dim,
        head_dim=head_dim,
        ff_expansion=shape_of(tensors, f"{layer}.ff.ff.0.0.weight", 2, SOURCE)[0] // dim,
        position_conv=shape_of(tensors, f"{_NET}.input_embed.conv_pos_embed.conv1.0.weight", 3, SOURCE)[2],
    )


def _ahead_names(source: str) -> dict[str, str]:
    return {f"{source}.{conv}": f"front.ahead.branch.{conv}" for conv in ("conv1", "conv2")}


def _encoder_names(config: EncoderConfig) -> dict[str, str]:
    names = {"encoder.up_layer.conv": "upsampler.conv", "encoder.after_norm": "upsampler.norm", "encoder_proj": "mu"}
    for theirs, ours in (("embed", "front"), ("up_embed", "upsampler")):
        names |= {f"encoder.{theirs}.out.0": f"{ours}.projection.linear"}
        names |= {f"encoder.{theirs}.out.1": f"{ours}.projection.norm"}
    for theirs, ours, depth in (("encoders", "layers", config.layers), ("up_encoders", "up_layers", config.up_layers)):
        for i in range(depth):
            names |= _nested(_ENCODER_LAYER, f"encoder.{theirs}.{i}", f"upsampler.{ours}.{i}")
    return names


def _unet_names(config: UNetConfig) -> dict[str, str]:
    names = {
        f"{_NET}.time_mlp.linear_1": "estimator.time.t.0",
        f"{_NET}.time_mlp.linear_2": "estimator.time.t.2",
        f"{_NET}.down_blocks.0.2": "estimator.first_conv",
        f"{_NET}.up_blocks.0.2": "estimator.last_conv",
        f"{_NET}.final_block.block.0": "estimator.out.block.conv",
        f"{_NET}.final_block.block.2": "estimator.out.block.norm",
        f"{_NET}.final_proj": "estimator.out.linear",
    }
    middle = {f"mid_blocks.{i}": f"middle.{i}" for i in range(config.middle)}
    stages = {"down_blocks.0": "first_stage", **middle, "up_blocks.0": "last_stage"}
    for i, (theirs, ours) in enumerate(stages.items()):
        source, target = f"{_NET}.{theirs}", f"estimator.{ours}"
        names |= _nested(_RESNET, f"{source}.0", f"{target}.resnet")
        names[f"{source}.0.mlp.1"] = f"estimator.shifts.{i}"
        for j in range(config.layers):
            names |= _nested(_UNET_LAYER, f"{source}.1.{j}", f"{target}.layers.{j}")
    return names


def _dit_names(config: DiTConfig) -> dict[str, str]:
    names = {
        f"{_NET}.time_embed.time_mlp.0": "estimator.time.t.0",
        f"{_NET}.time_embed.time_mlp.2": "estimator.time.t.2",
        f"{_NET}.input_embed.proj": "estimator.prepare.linear",
        f"{_NET}.norm_out.linear": "estimator.out_modulation",
        f"{_NET}.proj_out": "estimator.out",
    }
    for conv in ("conv1", "conv2"):
        names[f"{_NET}.input_embed.conv_pos_embed.{conv}.0"] = f"estimator.prepare.position.branch.{conv}"
    for i in range(config.layers):
        source = f"{_NET}.transformer_blocks.{i}"
        names |= _nested(_DIT_LAYER, source, f"estimator.layers.{i}")
        names[f"{source}.attn_norm.linear"] = f"estimator.modulations.{i}"
    return names


def _nested(names: Mapping[str, str], source: str, target: str) -> dict[str, str]:
    return {f"{source}.{theirs}": f"{target}.{ours}" for theirs, ours in names.items()}


def _laid_out(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under our names in our layouts: q, k and v joined, kernels of 1 as matrices, inputs in our order."""
    out: dict[str, Tensor] = {}
    for name, tensor in joined(tensors, SOURCE).items():
        layer, _, part = name.rpartition(".")
        if part.startswith("pos_bias_"):
            out[f"{layer}.{part[-1]}"] = tensor
        else:
            kernel = layer.endswith((".skip", ".out.linear")) and tensor.dim() == 3
            out[name] = tensor.flatten(1) if kernel else tensor
    name = "estimator.prepare.linear.weight"
    if name in out and out[name].dim() == 2 and out[name].shape[1] % 4 == 0:
        x, prompt, mu, speaker = out[name].chunk(4, 1)
        out[name] = torch.cat([x, mu, speaker, prompt], 1)
    return out
