"""Public names and shapes of llm.pt to a model, and files that are not one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.hub.cosyvoice.lm import from_cosyvoice_lm
from speech.tts.layout import Vocabulary
from speech.tts.lm import TextSpeechLM

DIM, HIDDEN, TEXT, CODES = 16, 24, 40, 20


def foreign(version: int, text: int = TEXT, codes: int = CODES) -> dict[str, Tensor]:
    """A small llm.pt by its public names: 2 layers, 4 query and 2 key heads of 4."""
    special = 3 if version == 2 else 200
    t = {
        "llm.model.model.embed_tokens.weight": torch.randn(text, DIM),
        "llm.model.model.norm.weight": torch.randn(DIM),
        "llm.model.lm_head.weight": torch.randn(text, DIM),
        "speech_embedding.weight": torch.randn(codes + special, DIM),
        "llm_decoder.weight": torch.randn(codes + special, DIM),
    }
    if version == 2:
        t |= {"llm_embedding.weight": torch.randn(2, DIM), "llm_decoder.bias": torch.randn(codes + 3)}
    for i in range(2):
        at = f"llm.model.model.layers.{i}"
        for name, rows, columns in (
            ("self_attn.q_proj", 16, DIM),
            ("self_attn.k_proj", 8, DIM),
            ("self_attn.v_proj", 8, DIM),
            ("self_attn.o_proj", DIM, 16),
            ("mlp.gate_proj", HIDDEN, DIM),
            ("mlp.up_proj", HIDDEN, DIM),
            ("mlp.down_proj", DIM, HIDDEN),
        ):
            t[f"{at}.{name}.weight"] = torch.randn(rows, columns)
            if name[-6] in "qkv" and name.startswith("self"):
                t[f"{at}.{name}.bias"] = torch.randn(rows)
        t |= {f"{at}.{name}_layernorm.weight": torch.randn(DIM) for name in ("input", "post_attention")}
    return t


@pytest.mark.parametrize("version", [2, 3])
def test_sizes_and_tables(version: int) -> None:
    tensors = foreign(version)
    config, ours = from_cosyvoice_lm(tensors, head_dim=4, left=9)
    lm = TextSpeechLM(config)
    lm.load_state_dict(ours)
    d = config.decoder
    assert (d.dim, d.layers, d.heads, d.kv_heads, d.hidden, d.left) == (DIM, 2, 4, 2, HIDDEN, 9)
    v = config.vocabulary
    assert v == (Vocabulary.cosyvoice2(TEXT, CODES) if version == 2 else Vocabulary.cosyvoice3(TEXT, CODES))
    assert (lm.head.bias is not None) == (version == 2)
    speech, text = tensors["speech_embedding.weight"], tensors["llm.model.model.embed_tokens.weight"]
    assert torch.equal(lm.embed.weight[7], speech[7]) and torch.equal(lm.embed.weight[v.fill], speech[v.fill])
    assert torch.equal(lm.embed.weight[v.first_text + 5], text[5])
    sos, task = tensors["llm_embedding.weight"] if version == 2 else speech[[CODES, CODES + 2]]
    assert torch.equal(lm.embed.weight[v.sos], sos) and torch.equal(lm.embed.weight[v.task], task)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"llm.model.model.norm.weight": None}, "llm.model.model.norm is missing"),
        ({"llm.model.model.layers.1.mlp.up_proj.weight": None}, r"layers.1.mlp.up_proj is missing"),
        ({"speech_embedding.weight": None}, "the tensor speech_embedding.weight"),
        ({"llm.model.model.layers.0.self_attn.k_proj.bias": None}, r"attention.k.bias is missing"),
        ({"other.weight": torch.zeros(1)}, "other is not known"),
        ({"llm_decoder.weight": torch.zeros(9, DIM)}, "equally many rows"),
        ({"llm_embedding.weight": torch.zeros(2, 3)}, "of one width"),
        ({"llm.model.model.layers.0.mlp.gate_proj.weight": torch.zeros(3)}, "2 dimensions"),
    ],
)
def test_files_that_are_not_one(change: dict[str, Tensor | None], message: str) -> None:
    tensors = foreign(2) | change
    with pytest.raises(SpeechError, match=message):
        from_cosyvoice_lm({name: t for name, t in tensors.items() if t is not None}, head_dim=4)


def test_a_head_size_that_does_not_fit() -> None:
    with pytest.raises(SpeechError, match="give its head_dim"):
        from_cosyvoice_lm(foreign(2), head_dim=5)
