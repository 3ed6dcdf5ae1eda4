"""The weights of CosyVoice 2's and 3's `llm.pt` under this project's names and layouts."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.hub.rename import count, renamed, shape_of
from speech.tts.layout import Vocabulary
from speech.tts.lm import TextSpeechConfig
from speech.tts.qwen2 import Qwen2Config

SOURCE = "CosyVoice's llm.pt"
IGNORED = frozenset({"llm.model.lm_head.weight", "epoch", "step"})  # a head for text that is never read; counters
SPARE = 200  # special rows of version 3
_SPECIAL, _SPEECH, _TEXT = "llm_embedding", "speech_embedding", "llm.model.model.embed_tokens"
_LAYER = {
    "self_attn.q_proj": "attention.branch.attention.q",
    "self_attn.k_proj": "attention.branch.attention.k",
    "self_attn.v_proj": "attention.branch.attention.v",
    "self_attn.o_proj": "attention.branch.attention.out",
    "mlp.gate_proj": "feed_forward.branch.module.gate",
    "mlp.up_proj": "feed_forward.branch.module.value",
    "mlp.down_proj": "feed_forward.branch.module.down",
    "input_layernorm": "attention.branch.norm",
    "post_attention_layernorm": "feed_forward.branch.module.norm",
}
_JOINED = {"qkv": ("q", "k", "v"), "up": ("gate", "value")}
"""Layers of ours that are several in the file, one below the other."""


def from_cosyvoice_lm(
    tensors: Mapping[str, Tensor], head_dim: int = 64, left: int = 2048
) -> tuple[TextSpeechConfig, dict[str, Tensor]]:
    """The tensors of `llm.pt` to a `TextSpeechLM`'s configuration and state dict.

    Version 2 is told from 3 by its table `llm_embedding`. head_dim, of the attention, shows in no tensor. left: see
    `Qwen2Config`.

    Raises:
        SpeechError: layers are missing, left over or of sizes that do not fit one another.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if name not in IGNORED}
    second = f"{_SPECIAL}.weight" in tensors
    config = _config(tensors, second, head_dim, left)
    names = {_TEXT: "text", _SPEECH: "speech", "llm_decoder": "head", "llm.model.model.norm": "decoder.norm"}
    names |= {_SPECIAL: "special"} if second else {}
    for i in range(config.decoder.layers):
        layer = f"layers.{i}"
        names |= {f"llm.model.model.{layer}.{theirs}": f"decoder.{layer}.{ours}" for theirs, ours in _LAYER.items()}
    out = renamed(tensors, names, SOURCE)
    tables = ["speech", "special", "text"] if second else ["speech", "text"]
    _join(out, [f"{table}.weight" for table in tables], "embed.weight")
    for name in list(out):
        for ours, parts in _JOINED.items():
            if match := re.fullmatch(rf"(.*)\.{parts[0]}\.(weight|bias)", name):
                _join(out, [f"{match[1]}.{part}.{match[2]}" for part in parts], f"{match[1]}.{ours}.{match[2]}")
    return config, out


def _config(tensors: Mapping[str, Tensor], second: bool, head_dim: int, left: int) -> TextSpeechConfig:
    text, dim = shape_of(tensors, f"{_TEXT}.weight", 2, SOURCE)
    speech, _ = shape_of(tensors, f"{_SPEECH}.weight", 2, SOURCE)
    outputs, _ = shape_of(tensors, "llm_decoder.weight", 2, SOURCE)
    first = "llm.model.model.layers.0"
    inner, _ = shape_of(tensors, f"{first}.self_attn.q_proj.weight", 2, SOURCE)
    shared, _ = shape_of(tensors, f"{first}.self_attn.k_proj.weight", 2, SOURCE)
    hidden, _ = shape_of(tensors, f"{first}.mlp.gate_proj.weight", 2, SOURCE)
    codes = speech - (3 if second else SPARE)
    if outputs != speech or codes < 1 or inner % head_dim or shared % head_dim:
        raise SpeechError(
            f"expected in {SOURCE} a speech table and a head of equally many rows, and projections to heads of "
            f"{head_dim}, got {speech} and {outputs} rows, {inner} query and {shared} key channels: give its head_dim"
        )
    decoder = Qwen2Config(
        dim=dim,
        layers=count(tensors, "llm.model.model.layers."),
        heads=inner // head_dim,
        kv_heads=shared // head_dim,
        head_dim=head_dim,
        hidden=hidden,
        left=left,
        bias=f"{first}.self_attn.q_proj.bias" in tensors,
    )
    vocabulary = Vocabulary.cosyvoice2(text, codes) if second else Vocabulary.cosyvoice3(text, codes, SPARE)
    return TextSpeechConfig(vocabulary, decoder, head_bias="llm_decoder.bias" in tensors)


def _join(out: dict[str, Tensor], names: list[str], target: str) -> None:
    """Put the tensors `names` one below the other, as `target`."""
    if missing := [name for name in names if name not in out]:
        raise SpeechError(f"expected in {SOURCE} all parts of {target}, but {missing[0]} is missing: take it whole")
    parts = [out.pop(name) for name in names]
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise SpeechError(f"expected in {SOURCE} parts of {target} of one width, got shapes {shapes}: take it whole")
    out[target] = torch.cat(parts)
