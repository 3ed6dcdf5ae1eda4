"""The weights of MeanVC's and MeanVC 2's networks under this project's names.

Names and sizes only: whether every tensor has the shape that the configuration asks for, `checkpoint.build` sees to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.hub.rename import count, renamed, shape_of
from speech.vc.network import ConverterConfig
from speech.vc.timbre import PromptConfig, TokenConfig

SOURCE = "a MeanVC converter"

_UNUSED = ("rotary_embed.inv_freq",)  # follows from the head's size
_UNUSED_2 = ("cache_embed.weight", "cache_embed.bias")  # trained by version 1 alone

_ENDS = {"input_embed.proj": "dit.prepare.linear", "norm_out.linear": "dit.out_modulation", "proj_out": "dit.out"}
_ENDS |= {f"{x}_time_embed.time_mlp.{i}": f"dit.time.{x}.{i}" for x in "tr" for i in (0, 2)}
_LAYER = {"attn.q_norm": "attention.norm_q", "attn.k_norm": "attention.norm_k", "attn.to_out.0": "attention.out"}
_LAYER |= {f"attn.to_{x}": f"attention.{x}" for x in "qkv"} | {"ff.ff.0.0": "ff.up", "ff.ff.2": "ff.down"}
_PROMPT = {"norm1": "norm1", "norm2": "norm2", "ffn.w_1": "ff.up", "ffn.w_2": "ff.down"}
_PROMPT |= {f"self_attn.linear_{x}": f"attention.{x}" for x in ("q", "k", "v", "out")}
_TOKENS = {f"temporal_timbre.{x}_proj": f"timbre.attention.{x}" for x in ("q", "k", "v", "out")}
_TOKENS |= {"temporal_timbre.attn_norm": "timbre.norm", "gtm.k": "timbre.keys", "gtm.v": "timbre.values"}
_TOKENS |= {"gtm.norm_k": "timbre.keys.norm", "gtm.norm_v": "timbre.values.norm"}
_TOKENS |= {f"gtm.mlp_k.{i}": f"timbre.keys.move.{i}" for i in (0, 2)}
_TOKENS |= {f"gtm.mlp_v.{i}": f"timbre.values.move.{i}" for i in (0, 2)}


def from_meanvc(tensors: Mapping[str, Tensor], chunk: int | None = None) -> tuple[ConverterConfig, dict[str, Tensor]]:
    """The tensors of `model_200ms.safetensors` or `meanvc2_*.safetensors` to a `ConverterNetwork`'s configuration and
    state.

    Version 2 is told from 1 by its timbre tokens. chunk: mel frames, which show in no tensor (default: 20, and 12 of
    version 2; the public files also have 16, and 4). Query, key and value become one matrix.

    Raises:
        SpeechError: layers are missing, left over or of sizes that do not fit one another, or the layers of version 2
            are not the four of which it is known how far each of them sees.
    """
    second = "gtm.k_prior" in tensors
    unused = (*_UNUSED, *_UNUSED_2) if second else _UNUSED
    config = _config(tensors, second)
    if chunk is not None:
        config = replace(config, chunk=chunk)
    parts = {name.replace("_prior", ".prior"): tensor for name, tensor in tensors.items() if name not in unused}
    out = renamed(parts, _names(config), SOURCE)
    for i in range(config.layers):
        for part in ("weight", "bias"):
            names = [f"dit.layers.{i}.attention.{x}.{part}" for x in "qkv"]
            out[f"dit.layers.{i}.attention.qkv.{part}"] = _joined(out, names)
    return config, out


def _config(tensors: Mapping[str, Tensor], second: bool) -> ConverterConfig:
    layers = count(tensors, "transformer_blocks.")
    mel, dim = shape_of(tensors, "proj_out.weight", 2, SOURCE)
    inner, _ = shape_of(tensors, "transformer_blocks.0.attn.to_q.weight", 2, SOURCE)
    (head_dim,) = shape_of(tensors, "transformer_blocks.0.attn.q_norm.weight", 1, SOURCE)
    hidden, _ = shape_of(tensors, "transformer_blocks.0.ff.ff.0.0.weight", 2, SOURCE)
    base = ConverterConfig.second() if second else ConverterConfig()
    if second:
        tokens, content = shape_of(tensors, "gtm.k_prior", 2, SOURCE)
        speaker = shape_of(tensors, "gtm.mlp_k.0.weight", 2, SOURCE)[1]
        timbre_inner = shape_of(tensors, "temporal_timbre.q_proj.weight", 2, SOURCE)[0]
        timbre: PromptConfig | TokenConfig = TokenConfig(tokens=tokens, inner=timbre_inner)
    else:
        first = "timbre_encoder.prompt_vp_encoders"
        speaker = shape_of(tensors, "timbre_encoder.vp_proj.weight", 2, SOURCE)[0]
        content = shape_of(tensors, f"{first}.0.self_attn.linear_q.weight", 2, SOURCE)[1]
        width = shape_of(tensors, f"{first}.0.ffn.w_1.weight", 2, SOURCE)[0]
        timbre = PromptConfig(layers=count(tensors, f"{first}."), hidden=width)
    if inner % head_dim or hidden % dim or len(base.past) not in (1, layers):
        raise SpeechError(
            f"expected in {SOURCE} whole heads, a feed-forward width of a multiple of the network's and, with timbre "
            f"tokens, {len(base.past)} layers, got {inner} channels in heads of {head_dim}, widths {hidden} and {dim}, "
            f"and {layers} layers: take the file of that model"
        )
    return replace(
        base,
        content=content,
        speaker=speaker,
        mel=mel,
        timbre=timbre,
        dim=dim,
        layers=layers,
        heads=inner // head_dim,
        head_dim=head_dim,
        ff_expansion=hidden // dim,
    )


def _names(config: ConverterConfig) -> dict[str, str]:
    names = dict(_ENDS)
    for i in range(config.layers):
        names |= {f"transformer_blocks.{i}.{theirs}": f"dit.layers.{i}.{ours}" for theirs, ours in _LAYER.items()}
        names[f"transformer_blocks.{i}.attn_norm.linear"] = f"dit.modulations.{i}"
    if isinstance(config.timbre, TokenConfig):
        return names | _TOKENS
    names |= {"cache_embed": "history", "timbre_encoder.vp_proj": "timbre.voice"}
    for i in range(config.timbre.layers):
        source = f"timbre_encoder.prompt_vp_encoders.{i}"
        names |= {f"{source}.{theirs}": f"timbre.layers.{i}.{ours}" for theirs, ours in _PROMPT.items()}
    return names


def _joined(out: dict[str, Tensor], names: list[str]) -> Tensor:
    """The tensors `names`, taken out and put one below the other."""
    if missing := [name for name in names if name not in out]:
        raise SpeechError(f"expected the layers of {SOURCE}, but {missing[0]} is missing: take its file whole")
    parts = [out.pop(name) for name in names]
    if len({part.shape for part in parts}) > 1:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise SpeechError(f"expected in {SOURCE} query, key and value of one shape, got {shapes}: take its file whole")
    return torch.cat(parts)
