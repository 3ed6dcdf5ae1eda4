"""The decoder beside the library's own Qwen2, and on its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from speech.errors import SpeechError
from speech.kernels.linear import Linear, pack
from speech.streaming.arena import Arena
from speech.streaming.frames import OPEN, Frames, Place
from speech.tts.qwen2 import Qwen2, Qwen2Config

CONFIG = Qwen2Config(dim=32, layers=2, heads=4, kv_heads=2, head_dim=8, hidden=48, left=64)


@pytest.fixture
def decoder() -> Qwen2:
    torch.manual_seed(0)
    decoder = Qwen2(CONFIG).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, float(parameter.dim() == 1), 0.2)
    return decoder


def test_it_is_the_public_qwen2(decoder: Qwen2, transformers: Any) -> None:
    reference = transformers.Qwen2Model(
        transformers.Qwen2Config(
            vocab_size=8,
            hidden_size=CONFIG.dim,
            intermediate_size=CONFIG.hidden,
            num_hidden_layers=CONFIG.layers,
            num_attention_heads=CONFIG.heads,
            num_key_value_heads=CONFIG.kv_heads,
            rms_norm_eps=CONFIG.eps,
            rope_parameters={"rope_theta": CONFIG.base, "rope_type": "default"},
        )
    ).eval()
    ours = decoder.state_dict()
    theirs = {"embed_tokens.weight": torch.zeros(8, CONFIG.dim), "norm.weight": ours["norm.weight"]}
    for i in range(CONFIG.layers):
        a, f = f"layers.{i}.attention.branch", f"layers.{i}.feed_forward.branch.module"
        for kind in ("weight", "bias"):
            for name, part in zip("qkv", ours[f"{a}.attention.qkv.{kind}"].split((32, 16, 16)), strict=True):
                theirs[f"layers.{i}.self_attn.{name}_proj.{kind}"] = part
        gate, up = ours[f"{f}.up.weight"].chunk(2)
        theirs |= {
            f"layers.{i}.self_attn.o_proj.weight": ours[f"{a}.attention.out.weight"],
            f"layers.{i}.input_layernorm.weight": ours[f"{a}.norm.weight"],
            f"layers.{i}.post_attention_layernorm.weight": ours[f"{f}.norm.weight"],
            f"layers.{i}.mlp.gate_proj.weight": gate,
            f"layers.{i}.mlp.up_proj.weight": up,
            f"layers.{i}.mlp.down_proj.weight": ours[f"{f}.down.weight"],
        }
    reference.load_state_dict(theirs)
    x = torch.randn(2, 40, CONFIG.dim)
    with torch.inference_mode():
        expected = reference(inputs_embeds=x).last_hidden_state
        torch.testing.assert_close(decoder(Frames.whole(x)).data, expected, rtol=0, atol=2e-5)


def test_packing_covers_every_matrix_and_changes_nothing(decoder: Qwen2) -> None:
    x = torch.randn(1, 9, CONFIG.dim)
    zero = torch.zeros(1, dtype=torch.long)

    def run() -> torch.Tensor:
        arena = Arena(decoder, 1)
        places = (Place(zero + i, zero + OPEN, 1) for i in range(9))
        steps = [decoder.step(Frames(x[:, p.start : p.start + 1], p), arena.state, zero) for p in places]
        return torch.cat([frames.data for frames in steps], 1)

    with torch.inference_mode():
        before = run()
        matrices = [module for module in decoder.modules() if isinstance(module, torch.nn.Linear)]
        assert all(isinstance(module, Linear) for module in matrices) and len(matrices) == 4 * CONFIG.layers
        pack(decoder)
        torch.testing.assert_close(run(), before, rtol=0, atol=1e-5)


def test_sizes_that_do_not_fit() -> None:
    for wrong in ({"heads": 3, "kv_heads": 2}, {"layers": 0}, {"head_dim": 7}):
        with pytest.raises(SpeechError, match="correct them"):
            Qwen2Config(**wrong)
