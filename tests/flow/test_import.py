"""Public names and shapes to ours: what follows from them, and what is told of a file that does not fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.flow.dit import DiTConfig
from speech.flow.encoder import EncoderConfig
from speech.flow.model import Flow
from speech.hub.checkpoint import build
from speech.hub.cosyvoice.flow import from_cosyvoice_flow
from tests.flow.conftest import Golden

DIM, LAYERS, MEL, SPEAKER = 32, 2, 6, 5


def third() -> dict[str, Tensor]:
    """Random tensors under the names of the third generation, whose sizes are their own."""
    shapes = {"input_embedding.weight": (11, MEL), "decoder.estimator.rotary_embed.inv_freq": (4,)}

    def layer(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    layer("spk_embed_affine_layer", MEL, SPEAKER)
    layer("pre_lookahead_layer.conv1", 10, MEL, 4)
    layer("pre_lookahead_layer.conv2", MEL, 10, 3)
    dit = "decoder.estimator"
    layer(f"{dit}.time_embed.time_mlp.0", DIM, 256)
    layer(f"{dit}.time_embed.time_mlp.2", DIM, DIM)
    layer(f"{dit}.input_embed.proj", DIM, 4 * MEL)
    for conv in ("conv1", "conv2"):
        layer(f"{dit}.input_embed.conv_pos_embed.{conv}.0", DIM, DIM // 16, 5)
    for i in range(LAYERS):
        block = f"{dit}.transformer_blocks.{i}"
        layer(f"{block}.attn_norm.linear", 6 * DIM, DIM)
        for x in ("to_q", "to_k", "to_v"):
            layer(f"{block}.attn.{x}", 16, DIM)
        layer(f"{block}.attn.to_out.0", DIM, 16)
        layer(f"{block}.ff.ff.0.0", 3 * DIM, DIM)
        layer(f"{block}.ff.ff.2", DIM, 3 * DIM)
    layer(f"{dit}.norm_out.linear", 2 * DIM, DIM)
    layer(f"{dit}.proj_out", MEL, DIM)
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_the_second_generation_is_known_by_its_shapes(golden: Golden) -> None:
    config = golden.flow.config
    assert (config.vocabulary, config.speaker, config.mel) == (729, 192, 80)
    assert config.encoder == EncoderConfig(64, 3, 64, 2, 4, 4, 160)
    assert sum(p.numel() for p in golden.flow.parameters()) == sum(w.numel() for w in golden.weights.values())


def test_the_third_generation() -> None:
    tensors = third()
    config, ours = from_cosyvoice_flow(tensors, head_dim=8)
    assert config.encoder == EncoderConfig(MEL, 3, 10, 0, 0)
    assert config.estimator == DiTConfig(MEL, None, DIM, LAYERS, 2, 8, 3, 5)
    assert config.estimator.rotary_heads == 1
    flow = Flow(config).eval()
    flow.load_state_dict(ours)
    x, prompt, mu, speaker = tensors["decoder.estimator.input_embed.proj.weight"].chunk(4, 1)
    assert torch.equal(ours["estimator.prepare.linear.weight"], torch.cat([x, mu, speaker, prompt], 1))
    with torch.inference_mode():
        mel = flow(torch.arange(9)[None], torch.randn(1, SPEAKER))
    assert mel.data.shape == (1, 18, MEL) and mel.data.isfinite().all()


def broken(tensors: dict[str, Tensor], name: str, change: Tensor | None) -> dict[str, Tensor]:
    rest = {key: tensor for key, tensor in tensors.items() if key != name}
    return rest if change is None else {**rest, name: change}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("encoder.after_norm.weight", None, r"upsampler.norm.weight is missing"),
        ("input_embedding.weight", torch.zeros(3), r"with 2 dimensions, got shape \[3\]"),
        ("decoder.estimator.time_mlp.linear_1.weight", None, r"linear_1.weight of .* with 2 dimensions, got none"),
        ("decoder.estimator.final_proj.bias", torch.zeros(7), r"shape \[7\] instead of \[80\]"),
        ("decoder.estimator.up_blocks.0.2.bias", None, r"estimator.last_conv.bias is missing"),
        ("decoder.estimator.mid_blocks.1.1.0.attn1.to_k.weight", torch.zeros(2), r"one shape .* got \[\(2,\), \("),
        ("decoder.estimator.up_blocks.0.0.res_conv.weight", torch.zeros(2), r"skip.weight has shape \[2\]"),
        ("encoder.ctc.weight", torch.zeros(1), r"encoder.ctc is not known"),
    ],
)
def test_files_that_do_not_fit(golden: Golden, name: str, change: Tensor | None, message: str) -> None:
    with pytest.raises(SpeechError, match=message):
        build(Flow, *from_cosyvoice_flow(broken(golden.weights, name, change), head_dim=32), "flow.pt")
