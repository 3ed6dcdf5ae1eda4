"""Which ids may come next."""

from __future__ import annotations

import pytest
import torch

from speech.asr.whisper.rules import BLANK, Rules, unspoken
from speech.asr.whisper.tokenizer import Symbols

SYMBOLS = Symbols(51865)
FIRST, END = SYMBOLS.times, SYMBOLS.end


def allowed(rules: Rules, text: list[int], logits: torch.Tensor | None = None) -> torch.Tensor:
    """[vocabulary] bool: what may follow a text."""
    logits = torch.zeros(1, 1, SYMBOLS.vocabulary) if logits is None else logits.clone()
    rules(logits, [text])
    return logits[0, 0] > -torch.inf


@pytest.mark.parametrize("vocabulary", [51864, 51865, 51866])
def test_what_is_never_said(vocabulary: int) -> None:
    symbols = Symbols(vocabulary)
    never = [*unspoken(symbols), symbols.start, symbols.transcribe, symbols.no_speech, symbols.start_of_previous]
    assert len(set(unspoken(symbols))) == len(unspoken(symbols)) and max(unspoken(symbols)) < symbols.end
    logits = torch.zeros(2, 3, vocabulary)
    Rules(symbols, None, False)(logits, [[], [1000]])
    assert (logits[..., never] == -torch.inf).all()
    assert (logits[0, -1, [BLANK, symbols.end]] == -torch.inf).all()
    assert (logits[1, 1, [BLANK, symbols.end]] == -torch.inf).all()  # its one id is checked again
    assert (logits[0, :-1, symbols.end] == 0).all() and (logits[1, [0, 2], symbols.end] == 0).all()
    assert (logits[..., 1000] == 0).all()


def test_own_choice() -> None:
    may = allowed(Rules(SYMBOLS, (), False), [])
    assert may[[BLANK, END, *unspoken(SYMBOLS)]].all() and not may[SYMBOLS.start]
    assert not allowed(Rules(SYMBOLS, (77,), False), [1000])[77]


def test_the_order_of_times() -> None:
    """First one of at most 1 s, then text; then one not before it, then one not before that or the end, then text."""
    rules = Rules(SYMBOLS, None, True)
    text = 1000
    start = allowed(rules, [])
    assert start[FIRST : FIRST + 51].all() and not start[FIRST + 51 :].any() and not start[:FIRST].any()
    after = allowed(rules, [FIRST + 9])
    assert after[text] and after[END] and not after[FIRST:].any()
    likely = torch.zeros(1, 1, SYMBOLS.vocabulary)
    likely[..., text] = 20.0
    ahead = allowed(rules, [FIRST + 9, text], likely)
    assert ahead[text] and not ahead[FIRST : FIRST + 10].any() and ahead[FIRST + 10 :].all()
    pair = allowed(rules, [FIRST + 9, text, FIRST + 40], likely)
    assert not pair[:END].any() and pair[FIRST + 40 :].all() and not pair[FIRST : FIRST + 40].any()
    next_one = allowed(rules, [FIRST + 9, text, FIRST + 40, FIRST + 40])
    assert next_one[text] and not next_one[FIRST:].any()


def test_times_win_together() -> None:
    """No one of them is the likeliest id, but all of them are likelier than any id of text."""
    rules = Rules(SYMBOLS, None, True)
    logits = torch.zeros(1, 1, SYMBOLS.vocabulary)
    logits[..., 1000] = 3.0
    may = allowed(rules, [FIRST, 1000], logits)
    assert not may[:FIRST].any() and may[FIRST + 1 :].all()
    assert allowed(rules, [FIRST, 1000], logits + 9.0 * (logits > 0))[1000]
