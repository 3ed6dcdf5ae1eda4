"""Against the Whisper of the library transformers, with the same random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from speech.asr.whisper.model import Whisper
from speech.asr.whisper.rules import BLANK, unspoken
from speech.asr.whisper.search import Request, Search
from speech.asr.whisper.tokenizer import Symbols
from speech.hub.whisper.weights import load_whisper
from speech.streaming.frames import Frames

SYMBOLS = Symbols(51865)
OPENING = SYMBOLS.prompt("de", "translate")
CLOSE = {"atol": 1e-4, "rtol": 1e-4}

Pair = tuple[Any, Whisper]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, transformers: Any) -> Pair:
    """Their model, and ours that was read from its folder."""
    torch.manual_seed(3)
    config = transformers.WhisperConfig(
        vocab_size=SYMBOLS.vocabulary,
        d_model=32,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        eos_token_id=SYMBOLS.end,
        pad_token_id=SYMBOLS.end,
        bos_token_id=SYMBOLS.end,
        decoder_start_token_id=SYMBOLS.start,
        init_std=0.3,
        attn_implementation="eager",
    )
    theirs = transformers.WhisperForConditionalGeneration(config).eval()
    folder: Path = tmp_path_factory.mktemp("whisper")
    theirs.save_pretrained(folder)
    return theirs, load_whisper(folder).eval()


@pytest.fixture(scope="module")
def mel() -> torch.Tensor:
    return torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(4))


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def test_network(pair: Pair, mel: torch.Tensor) -> None:
    """Encoder, logits and cross attention."""
    theirs, ours = pair
    ids = torch.tensor([[*OPENING, 400, 5000, 31, 42000]])
    expected = theirs(mel, decoder_input_ids=ids, output_attentions=True)
    heard = ours.encoder(Frames.whole(mel.mT))
    torch.testing.assert_close(heard.data, expected.encoder_last_hidden_state, **CLOSE)
    torch.testing.assert_close(ours.decoder(ids, heard), expected.logits, **CLOSE)
    weights = ours.decoder.attention(ids[0], heard)
    torch.testing.assert_close(weights, torch.cat(expected.cross_attentions), **CLOSE)


def test_languages(pair: Pair, mel: torch.Tensor, transformers: Any) -> None:
    theirs, ours = pair
    named = {f"<|{code}|>": SYMBOLS.language(code) for code in SYMBOLS.languages}
    settings = transformers.GenerationConfig(
        lang_to_id=named, decoder_start_token_id=SYMBOLS.start, return_timestamps=False
    )
    for part in (mel, mel.flip(-1), 2 * mel):
        expected = theirs.detect_language(input_features=part, generation_config=settings)
        told = Search(ours.decoder, SYMBOLS).languages(ours.encoder(Frames.whole(part.mT)))[0]
        assert SYMBOLS.language(next(iter(told))) == int(expected)


def test_greedy_ids(pair: Pair, mel: torch.Tensor, transformers: Any) -> None:
    theirs, ours = pair
    never = [*unspoken(SYMBOLS), *range(SYMBOLS.start, SYMBOLS.vocabulary)]
    expected = transformers.GenerationMixin.generate(
        theirs,
        mel,
        decoder_input_ids=torch.tensor([OPENING]),
        max_new_tokens=40,
        do_sample=False,
        num_beams=1,
        suppress_tokens=never,
        begin_suppress_tokens=[BLANK, SYMBOLS.end],
    )
    request = Request(language="de", task="translate", suppress=tuple(never), guard=None)
    told = Search(ours.decoder, SYMBOLS, request).decode(ours.encoder(Frames.whole(mel.mT)))[0]
    assert len(set(told.ids)) > 5
    assert list(told.ids[:40]) == expected[0, len(OPENING) : len(OPENING) + 40].tolist()
