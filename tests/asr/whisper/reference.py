"""Whisper written down once more, straight from its tensors under the names of Hugging Face: no cache, no stream."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d, gelu, layer_norm, linear, scaled_dot_product_attention

Tensors = dict[str, Tensor]


def encode(w: Tensors, mel: Tensor, heads: int) -> Tensor:
    """All frames see all frames. mel: [b, features, 2 t] -> [b, t, d]."""
    x = gelu(conv1d(mel, w["model.encoder.conv1.weight"], w["model.encoder.conv1.bias"], padding=1))
    x = gelu(conv1d(x, w["model.encoder.conv2.weight"], w["model.encoder.conv2.bias"], stride=2, padding=1)).mT
    x = x + w["model.encoder.embed_positions.weight"][: x.shape[1]]
    for i in range(_count(w, "model.encoder.layers.")):
        at = f"model.encoder.layers.{i}"
        y = _norm(w, f"{at}.self_attn_layer_norm", x)
        x = _feed_forward(w, at, x + _attend(w, f"{at}.self_attn", y, y, heads))
    return _norm(w, "model.encoder.layer_norm", x)


def decode(w: Tensors, ids: Tensor, heard: Tensor, heads: int) -> Tensor:
    """Logits behind each id. ids: [b, u]; heard: [b, t, d] -> [b, u, vocabulary]."""
    embed = w["model.decoder.embed_tokens.weight"]
    x = embed[ids] + w["model.decoder.embed_positions.weight"][: ids.shape[1]]
    for i in range(_count(w, "model.decoder.layers.")):
        at = f"model.decoder.layers.{i}"
        y = _norm(w, f"{at}.self_attn_layer_norm", x)
        x = x + _attend(w, f"{at}.self_attn", y, y, heads, causal=True)
        x = x + _attend(w, f"{at}.encoder_attn", _norm(w, f"{at}.encoder_attn_layer_norm", x), heard, heads)
        x = _feed_forward(w, at, x)
    return _norm(w, "model.decoder.layer_norm", x) @ embed.T


def _count(w: Tensors, prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in w if name.startswith(prefix)})


def _norm(w: Tensors, at: str, x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], w[f"{at}.weight"], w[f"{at}.bias"])


def _linear(w: Tensors, at: str, x: Tensor) -> Tensor:
    return linear(x, w[f"{at}.weight"], w.get(f"{at}.bias"))


def _attend(w: Tensors, at: str, x: Tensor, to: Tensor, heads: int, causal: bool = False) -> Tensor:
    q, k, v = (_linear(w, f"{at}.{p}_proj", y) for p, y in (("q", x), ("k", to), ("v", to)))
    q, k, v = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (q, k, v))
    y = scaled_dot_product_attention(q, k, v, is_causal=causal)
    return _linear(w, f"{at}.out_proj", y.transpose(1, 2).flatten(2))


def _feed_forward(w: Tensors, at: str, x: Tensor) -> Tensor:
    y = gelu(_linear(w, f"{at}.fc1", _norm(w, f"{at}.final_layer_norm", x)))
    return x + _linear(w, f"{at}.fc2", y)


def openai(w: Tensors) -> Tensors:
    """The same tensors under OpenAI's names, spelt out one rule after another."""
    rules = (
        ("model.", ""),
        ("layers.", "blocks."),
        ("self_attn_layer_norm", "attn_ln"),
        ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("final_layer_norm", "mlp_ln"),
        ("self_attn.", "attn."),
        ("encoder_attn.", "cross_attn."),
        ("q_proj", "query"),
        ("k_proj", "key"),
        ("v_proj", "value"),
        ("out_proj", "out"),
        ("fc1", "mlp.0"),
        ("fc2", "mlp.2"),
        ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
        ("embed_positions.weight", "positional_embedding"),
        ("embed_tokens", "token_embedding"),
    )
    out: Tensors = {}
    for name, tensor in w.items():
        for theirs, ours in rules:
            name = name.replace(theirs, ours)
        out[name] = tensor
    return out


def causal(w: Tensors, rank: int) -> Tensors:
    """Random updates of low rank beside the attention weights of OpenAI's names, as causal Whispers keep them."""
    out: Tensors = {}
    for name, tensor in w.items():
        layer, _, part = name.rpartition(".")
        if not layer.endswith(tuple(f"attn.{x}" for x in ("query", "key", "value", "out"))):
            out[name] = tensor
            continue
        out[f"{layer}.base_layer.{part}"] = tensor
        if part == "weight":
            out[f"{layer}.lora_layer.lora_A"] = torch.randn(tensor.shape[1], rank)
            out[f"{layer}.lora_layer.lora_B"] = torch.randn(rank, tensor.shape[0])
    return out
