"""The converter's network as it is trained, in the least code: our transformer with its timbre encoder in front."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, relu

from speech.flow.dit import DiT, DiTConfig
from speech.flow.layers import Context
from speech.streaming.frames import Frames, Place

CHUNK, BACK = 20, 5  # frames of a chunk; clean chunks that a noisy one sees
_LAYER = {"attn.to_out.0": "attention.out", "ff.ff.0.0": "ff.up", "ff.ff.2": "ff.down"}
_LAYER |= {"attn.q_norm": "attention.norm_q", "attn.k_norm": "attention.norm_k"}
_REST = {"norm_out.linear": "out_modulation", "proj_out": "out", "input_embed.proj": "prepare.linear"}
_REST |= {f"{x}_time_embed.time_mlp.{i}": f"time.{x}.{i}" for x in "tr" for i in (0, 2)}


def renamed(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The public names of the transformer's tensors to ours, differentiably."""
    pairs = dict(_REST)
    for i in range(layers):
        pairs |= {f"transformer_blocks.{i}.{theirs}": f"layers.{i}.{ours}" for theirs, ours in _LAYER.items()}
        pairs[f"transformer_blocks.{i}.attn_norm.linear"] = f"modulations.{i}"
    out = {
        f"{pairs[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": x
        for name, x in tensors.items()
        if name.rpartition(".")[0] in pairs
    }
    for i in range(layers):
        for part in ("weight", "bias"):
            parts = [tensors[f"transformer_blocks.{i}.attn.to_{x}.{part}"] for x in "qkv"]
            out[f"layers.{i}.attention.qkv.{part}"] = torch.cat(parts)
    return out


def timbre(weights: Mapping[str, Tensor], content: Tensor, prompt: Tensor, speaker: Tensor) -> Tensor:
    """Cross attention from content [b, t, 256] to the prompt's mel [b, p, 80]; speaker: [b, 256] -> [b, t, 256]."""
    voice = linear(speaker, weights["timbre_encoder.vp_proj.weight"])[:, None].expand(-1, prompt.shape[1], -1)
    x = content
    for i in range(2):

        def part(name: str, y: Tensor, i: int = i) -> Tensor:
            source = f"timbre_encoder.prompt_vp_encoders.{i}.{name}"
            return linear(y, weights[f"{source}.weight"], weights[f"{source}.bias"])

        def norm(name: str, y: Tensor, i: int = i) -> Tensor:
            source = f"timbre_encoder.prompt_vp_encoders.{i}.{name}"
            return layer_norm(y, y.shape[-1:], weights[f"{source}.weight"], weights[f"{source}.bias"])

        keys = torch.cat([prompt, voice], -1)
        projected = part("self_attn.linear_q", x), part("self_attn.linear_k", keys), part("self_attn.linear_v", prompt)
        q, k, v = (y.unflatten(-1, (4, 64)).transpose(1, 2) for y in projected)
        y = ((q @ k.mT / 8).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = norm("norm1", x + part("self_attn.linear_out", y))
        x = norm("norm2", x + part("ffn.w_2", relu(part("ffn.w_1", x))))
    return x


class Training(nn.Module):
    """The network over [clean half | noisy half], both at positions 0 .. t - 1, in its training mask."""

    def __init__(self, dit: DiTConfig) -> None:
        super().__init__()
        self.dit = DiT(dit, Context(CHUNK // 2, BACK * CHUNK // 2))
        self.cache = nn.Linear(dit.mel, dit.dim)

    def forward(self, z: Tensor, t: Tensor, r: Tensor, clean: Tensor, conditions: Tensor, lengths: Tensor) -> Tensor:
        """z, clean: [b, n, mel]; t, r: [b]; conditions: [b, n, d] -> u [b, n, mel]."""
        noisy = self.dit.prepare(Frames.whole(torch.cat([z, conditions], -1), lengths)).data
        x = Frames(torch.cat([self.cache(clean), noisy], 1), doubled(lengths, z.shape[1]))
        time = self.dit.modulate(t, r)
        for layer, modulation in zip(self.dit.layers.children(), time[:-1], strict=True):
            x = layer(x, modulation)
        return self.dit.finish(x, time[-1]).data[:, z.shape[1] :]


def doubled(lengths: Tensor, n: int) -> Place:
    """The place of both halves, whose positions run twice, with the training mask in the stead of the attention's."""
    place = Place(torch.zeros_like(lengths), lengths, 2 * n)
    index = torch.arange(n).repeat(2)
    place.__dict__["index"] = index.expand(len(lengths), -1)
    noisy, chunk = torch.arange(2 * n) >= n, index // CHUNK
    ago = chunk[:, None] - chunk
    seen = ((ago == 0) & (noisy[:, None] == noisy)) | (noisy[:, None] & ~noisy & (ago >= 1) & (ago <= BACK))
    place.memo(("seen", BACK * CHUNK, CHUNK, 0, 0), lambda: seen & place.valid[:, None, :])
    return place


def named(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """All of the training network's tensors under our names."""
    ours = {f"dit.{name}": tensor for name, tensor in renamed(tensors, layers).items()}
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"cache_embed\.(weight|bias)", name):
            ours[f"cache.{match[1]}"] = tensor
    return ours
