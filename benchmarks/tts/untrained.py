"""Synthesisers with random weights that talk for as long as is asked: what they take does not depend on the weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from torch import nn

from speech.flow.encoder import EncoderConfig
from speech.flow.model import FlowConfig
from speech.flow.unet import UNetConfig
from speech.kernels.linear import pack
from speech.tts.lm import TextSpeechConfig, TextSpeechLM
from speech.tts.model import SynthesiserConfig, SynthesiserModel
from speech.tts.qwen2 import Qwen2Config
from speech.tts.reader import PairReader
from speech.tts.synthesiser import Synthesiser
from speech.tts.tokens import TextTokenizer
from speech.tts.voice import Voice
from speech.vocoder.hift import HiFTConfig

SIZES = {
    "cosyvoice2": SynthesiserConfig(),
    "tiny": SynthesiserConfig(
        lm=TextSpeechConfig(decoder=Qwen2Config(dim=16, layers=2, heads=2, kv_heads=1, head_dim=8, hidden=32)),
        flow=FlowConfig(
            encoder=EncoderConfig(dim=16, ahead_hidden=16, layers=1, up_layers=1, heads=2, ff_hidden=32),
            estimator=UNetConfig(dim=16, time_dim=32, layers=1, middle=1, heads=2, head_dim=8),
        ),
        vocoder=HiFTConfig(dim=16, f0_dim=16),
    ),
}
"""Configurations by name; tiny is for smoke tests."""

CERTAIN = 100.0  # a score beside which all others count for nothing


def untrained(name: str, device: torch.device | None = None) -> Synthesiser:
    """A synthesiser of these sizes. It says 15 codes for every 5 bytes of text, then ends as soon as it may."""
    config = SIZES[name]
    torch.manual_seed(0)
    model = SynthesiserModel(config).eval()
    _talkative(model.lm)
    _laid_out(model, device)
    voice = Voice.plain(torch.randn(config.flow.speaker), config.flow.mel)
    return Synthesiser(model, PairReader(_bytes(), config.lm.vocabulary), {"random": voice})


def untrained_lm(name: str, draft_heads: int, device: torch.device | None = None) -> TextSpeechLM:
    """The language model of these sizes, with draft heads. It says what `untrained` says; its heads guess badly."""
    torch.manual_seed(0)
    lm = TextSpeechLM(replace(SIZES[name].lm, draft_heads=draft_heads)).eval()
    _talkative(lm)
    _laid_out(lm, device)
    return lm


def _laid_out(model: nn.Module, device: torch.device | None) -> None:
    """Put a model on a device, as a loaded one is."""
    model.to(device or "cpu")
    if device is None or device.type == "cpu":
        pack(model)


def _talkative(lm: TextSpeechLM) -> None:
    """Let it end when it may, and not wait for text before it must."""
    vocabulary, bias = lm.config.vocabulary, lm.head.bias
    with torch.no_grad():
        bias[vocabulary.eos], bias[vocabulary.fill] = CERTAIN, -CERTAIN


def _bytes() -> TextTokenizer:
    """Every byte is an id."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(BPE(vocab={sign: id for id, sign in enumerate(alphabet)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    return TextTokenizer(model)
