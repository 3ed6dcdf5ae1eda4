"""Folders of CosyVoice as they are published, at sizes that a test can afford."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from torch import Tensor, nn

from speech.content.s3 import S3Tokenizer
from speech.tts.tokens import WORDS
from tests.content.small import S3
from tests.content.test_cosyvoice_content import public_s3
from tests.flow.test_import import third
from tests.tts.test_import_lm import foreign
from tests.vocoder.public import public_hift

YAML = """
__set_seed1: !apply:random.seed [1986]
sample_rate: 24000
chunk_size: 25 # in tokens
flow: !new:cosyvoice.flow.flow.CausalMaskedDiffWithXvec
    spk_embed_dim: !ref <spk_embed_dim>
    decoder: !new:cosyvoice.flow.flow_matching.CausalConditionalCFM
        estimator: !new:cosyvoice.flow.decoder.CausalConditionalDecoder
            attention_head_dim: 32
            static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
"""
CODES = 243


def second(folder: Path, fixtures: Path) -> Path:
    """A CosyVoice 2 of the golden fixtures' weights, its speech tokenizer and speaker encoder as PyTorch files.

    The language model likes to stop, so that speech ends.
    """
    folder.mkdir()
    lm = torch.load(fixtures / "cosyvoice2_lm" / "llm.pt", weights_only=True)
    lm["llm_decoder.bias"][CODES] += 6
    torch.save(lm | {"epoch": 3, "step": 700}, folder / "llm.pt")
    for part, name in (("cosyvoice2_flow", "flow.pt"), ("cosyvoice2_hift", "hift.pt"), ("campplus", "campplus.bin")):
        (folder / name).write_bytes((fixtures / part / name).read_bytes())
    torch.save(public_s3(speech_tokenizer(5)), folder / "speech_tokenizer_v2.pt")
    (folder / "cosyvoice2.yaml").write_text(YAML)
    text(folder / "CosyVoice-BlankEN", {"hidden_size": 64, "num_attention_heads": 4})
    return folder


def third_version(folder: Path) -> Path:
    """A CosyVoice 3 of random weights, always the same, its speech tokenizer and speaker encoder as ONNX files."""
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(foreign(3, text=700, codes=9), folder / "llm.pt")
        torch.save(third(), folder / "flow.pt")
        torch.save(public_hift(causal=True), folder / "hift.pt")
    (folder / "cosyvoice3.yaml").write_text(YAML.replace("attention_head_dim: 32", "dim_head: 8"))
    text(folder / "CosyVoice-BlankEN", {"hidden_size": 16, "num_attention_heads": 4})
    onnx(folder / "speech_tokenizer_v3.onnx", Codes(), feats=torch.randn(1, 128, 20), length=torch.tensor([20]).int())
    onnx(folder / "campplus.onnx", Vector(), fbank=torch.randn(1, 20, 80))
    return folder


def speech_tokenizer(digits: int) -> S3Tokenizer:
    """A small one of 3 ** digits codes, which vary."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = S3Tokenizer(replace(S3, levels=(3,) * digits)).eval()
        nn.init.normal_(model.project.weight)
    return model


def text(folder: Path, config: dict[str, int]) -> None:
    """A byte-pair vocabulary of 270 tokens, and the decoder's configuration."""
    model = Tokenizer(BPE())
    words = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator(["so it goes"] * 9, trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet))
    folder.mkdir()
    model.model.save(str(folder))
    (folder / "config.json").write_text(json.dumps(config))


class Codes(nn.Module):
    """Mel frames [1, 128, t] to codes below 9, one for four frames, with the inputs of the public tokenizer."""

    def forward(self, feats: Tensor, length: Tensor) -> Tensor:
        return ((feats[:, 5, ::4].abs() * 9) % 9).int() + 0 * length


class Vector(nn.Module):
    """Filter bank frames [1, t, 80] to a vector [1, 5]."""

    def forward(self, fbank: Tensor) -> Tensor:
        return fbank.abs().mean(1)[:, :5]


def onnx(path: Path, model: nn.Module, **inputs: Tensor) -> None:
    """Write a model whose first input may be of any length."""
    first = next(iter(inputs))
    axes = {first: {inputs[first].shape.index(20): "time"}}
    torch.onnx.export(model, (*inputs.values(),), str(path), input_names=[*inputs], dynamic_axes=axes, dynamo=False)
