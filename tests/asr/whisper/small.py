"""A Whisper small enough to compare number by number, and its weights under the names of Hugging Face."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from speech.asr.endpoint import EndpointConfig
from speech.asr.whisper.config import Context, WhisperConfig
from speech.asr.whisper.model import Whisper
from speech.asr.whisper.recogniser import WhisperRecogniser
from speech.asr.whisper.tokenizer import Symbols, WhisperTokenizer
from speech.audio.mel import WHISPER, WHISPER_STREAMING

SIZES = {
    "num_mel_bins": 10,
    "max_source_positions": 40,
    "d_model": 12,
    "encoder_attention_heads": 3,
    "encoder_layers": 2,
    "vocab_size": 23,
    "max_target_positions": 16,
    "decoder_attention_heads": 2,
    "decoder_layers": 3,
}
CONFIG = WhisperConfig(
    replace(WHISPER_STREAMING, features=10),
    dim=12,
    encoder_layers=2,
    encoder_heads=3,
    decoder_layers=3,
    decoder_heads=2,
    vocabulary=23,
    positions=40,
    tokens=16,
    contexts=(Context.causal(4, 8, 40), Context.causal(2, 8, 40)),
)

SYMBOLS = Symbols(51865)
WORDS = range(1000, 1012)
"""The only ids of text that a talkative model may say, beside the end."""

MUTE = tuple(i for i in range(51865) if i not in WORDS and i != SYMBOLS.end)


def small(config: WhisperConfig = CONFIG) -> Whisper:
    """A model with random weights that all matter, in evaluation mode."""
    torch.manual_seed(1)
    model = Whisper(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    for name, parameter in model.named_parameters():
        if name.endswith("qkv.bias"):
            parameter.data.view(3, -1)[1] = 0.0  # keys have none
    return model


def talkative(config: WhisperConfig, seed: int = 7) -> Whisper:
    """A multilingual model whose text hangs on all that it hears and has said, where all but `WORDS` is suppressed.

    In double precision: how rows are batched decides nothing.
    """
    model = small(config).double().requires_grad_(False)
    decoder = model.decoder
    torch.nn.init.normal_(decoder.embed.weight, std=0.3, generator=torch.Generator().manual_seed(seed))
    torch.nn.init.ones_(decoder.norm.weight)
    torch.nn.init.zeros_(decoder.norm.bias)
    for name, weight in decoder.named_parameters():
        if name.endswith(("cross.query.weight", "cross.out.weight", "attention.out.weight", "positions.weight")):
            weight.mul_(8.0)
    decoder.embed.weight[SYMBOLS.end].mul_(1.5)
    return model


SYLLABLES = range(973, 1001)
"""The only ids of text that a babbler may say, two bytes each."""


def babbling(tokenizer: WhisperTokenizer, causal: bool, positions: int, seed: int = 7) -> WhisperRecogniser:
    """Random weights, 99 languages; what it says hangs on the language that it is told."""
    if causal:
        contexts, mel = (Context.causal(4, 8, positions), Context.causal(2, 8, positions)), WHISPER_STREAMING
    else:
        contexts, mel = (Context.windows(positions),), WHISPER
    config = WhisperConfig(replace(mel, features=10), 12, 1, 2, 2, 2, positions=positions, tokens=64, contexts=contexts)
    endpoint, model = EndpointConfig(silence=0.6, voice_silence=0.4), talkative(config, seed)
    model.decoder.embed.weight[SYMBOLS.times :].mul_(0.1)  # said where they are asked for, hardly elsewhere
    recogniser = WhisperRecogniser(model, tokenizer, endpoint=endpoint, chunk=None if causal else 300)
    mute = tuple(i for i in range(SYMBOLS.times) if i not in SYLLABLES and i != SYMBOLS.end)
    times = tuple(range(SYMBOLS.times, SYMBOLS.vocabulary)) if causal else ()
    recogniser.request = replace(recogniser.request, suppress=mute + times, passes=6)
    return recogniser


def babble(eighths: int, seed: int = 0) -> np.ndarray:
    """Noise that is louder and quieter every eighth of a second. [n], 16 kHz."""
    rng = np.random.default_rng(seed)
    loud = 0.3 * np.repeat(rng.uniform(0, 1, eighths) ** 2, 2000)
    return (loud * rng.standard_normal(len(loud))).astype(np.float32)


def published() -> dict[str, Tensor]:
    """Random tensors of a Hugging Face Whisper of `SIZES`, without the tied output layer."""
    torch.manual_seed(2)
    dim, out = SIZES["d_model"], {}

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        out[f"model.{name}.weight"] = torch.randn(*shape) * 0.4
        if bias:
            out[f"model.{name}.bias"] = torch.randn(shape[0]) * 0.4

    layer("encoder.conv1", dim, SIZES["num_mel_bins"], 3)
    layer("encoder.conv2", dim, dim, 3)
    layer("encoder.embed_positions", SIZES["max_source_positions"], dim, bias=False)
    layer("decoder.embed_positions", SIZES["max_target_positions"], dim, bias=False)
    layer("decoder.embed_tokens", SIZES["vocab_size"], dim, bias=False)
    for stack, kinds in (("encoder", ["self_attn"]), ("decoder", ["self_attn", "encoder_attn"])):
        for i in range(SIZES[f"{stack}_layers"]):
            for kind in kinds:
                layer(f"{stack}.layers.{i}.{kind}_layer_norm", dim)
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    layer(f"{stack}.layers.{i}.{kind}.{part}", dim, dim, bias=part != "k_proj")
            layer(f"{stack}.layers.{i}.fc1", 4 * dim, dim)
            layer(f"{stack}.layers.{i}.fc2", dim, 4 * dim)
            layer(f"{stack}.layers.{i}.final_layer_norm", dim)
        layer(f"{stack}.layer_norm", dim)
    return out


def hugging_face(folder: Path, tensors: dict[str, Tensor], **changes: object) -> Path:
    """Write a folder as Hugging Face does."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "whisper", **SIZES, **changes}))
    save_file(tensors, folder / "model.safetensors")
    return folder
