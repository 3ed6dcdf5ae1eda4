"""A small language model, scripts driven by scores made by hand, and a small synthesiser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from speech.audio.mel import COSYVOICE2_MEL
from speech.flow.encoder import EncoderConfig
from speech.flow.layers import Context
from speech.flow.model import FlowConfig
from speech.flow.solver import Sampling
from speech.flow.unet import UNetConfig
from speech.tts.layout import Row, Script, Vocabulary
from speech.tts.lm import TextSpeechConfig, TextSpeechLM
from speech.tts.model import SynthesiserConfig, SynthesiserModel
from speech.tts.qwen2 import Qwen2Config
from speech.tts.reader import PhonemeReader
from speech.tts.sampling import SamplingConfig
from speech.tts.synthesiser import Synthesiser
from speech.tts.text.inventory import SYMBOLS
from speech.tts.text.phonemes import phonemiser
from speech.tts.voice import Voice
from speech.vocoder.vocos import VocosConfig

DECODER = Qwen2Config(dim=16, layers=2, heads=4, kv_heads=2, head_dim=4, hidden=24, left=200)
CODES, MEL = 27, 8
RATE = 4000


def small_lm(
    vocabulary: Vocabulary, seed: int = 0, decoder: Qwen2Config = DECODER, draft_heads: int = 0
) -> TextSpeechLM:
    """Random weights under which ids differ clearly."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm = TextSpeechLM(TextSpeechConfig(vocabulary, decoder, draft_heads=draft_heads)).eval()
        for parameter in lm.parameters():
            torch.nn.init.normal_(parameter, float(parameter.dim() == 1), 0.5)
    return lm


def admitted(script: Script) -> set[int]:
    """Which ids may come next."""
    return {i for i, score in enumerate(script.admit(torch.zeros(script.vocabulary.outputs))) if score > -torch.inf}


def talk(script: Script, ids: Iterable[int]) -> Iterator[tuple[list[Row], int, int | None]]:
    """Let `ids` come where the decoder would choose: the rows that it was fed, the id, and the code that came of it."""
    ids = iter(ids)
    while script.ready and (id := next(ids, None)) is not None:
        yield script.feed(), id, script.take(id)


def flat(rows: Iterable[Row]) -> list[int]:
    """Rows of one column as a list."""
    return [id for (id,) in rows]


def scored(vocabulary: Vocabulary, **best: float) -> Tensor:
    """Scores of 0 with those of the named special ids set."""
    out = torch.zeros(vocabulary.outputs)
    for name, score in best.items():
        out[getattr(vocabulary, name)] = score
    return out


def small_synthesiser(draft_heads: int = 0, drafts: int = 0) -> Synthesiser:
    """Two voices, one of them with a prompt; about two codes a phoneme, 80 ms each, at 4 kHz."""
    vocabulary = Vocabulary.beside(len(SYMBOLS), CODES, ahead=2, voices=2)
    config = SynthesiserConfig(
        TextSpeechConfig(
            vocabulary,
            Qwen2Config(dim=16, layers=1, heads=2, kv_heads=1, head_dim=8, hidden=16, left=300),
            draft_heads=draft_heads,
        ),
        FlowConfig(
            CODES,
            6,
            EncoderConfig(dim=8, ahead_hidden=6, layers=1, up_layers=1, heads=2, ff_hidden=12),
            UNetConfig(mel=MEL, dim=8, time_dim=8, layers=1, middle=1, heads=2, head_dim=3),
            Context(chunk=5, left=10),
            Sampling(steps=2),
            symbols=len(SYMBOLS),
        ),
        VocosConfig(sample_rate=RATE, features=MEL, dim=16, hidden=16, layers=1, n_fft=320, hop=160, causal=True),
        text="phonemes",
        mel=replace(COSYVOICE2_MEL, features=MEL),
    )
    torch.manual_seed(0)
    model = SynthesiserModel(config).eval()
    for parameter in model.lm.parameters():
        torch.nn.init.normal_(parameter, float(parameter.dim() == 1), 0.3)
    model.lm.head.bias.data[vocabulary.fill] += 4.0
    voices = {
        "plain": Voice.plain(torch.randn(6), MEL),
        "prompted": Voice(torch.randn(6), torch.randint(CODES, (7,)), torch.randn(14, MEL), torch.zeros(0).long(), 1),
    }
    sampling = SamplingConfig(top_p=0.95, top_k=None, window=0, drafts=drafts)
    return Synthesiser(model, PhonemeReader(phonemiser(), vocabulary), voices, codes=sampling)
