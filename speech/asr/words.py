"""Tokens with frames to words with times and confidences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from speech.asr.events import Segment, Word
from speech.asr.greedy import Token
from speech.asr.tokenizer import Tokenizer


class Words:
    """Writes tokens as words.

    A word starts when the frame of its first token starts and ends when the frame of its last token ends, so both are
    exact to one frame; words that share a frame overlap by it. frame: seconds of an encoder frame.
    """

    def __init__(self, tokenizer: Tokenizer, frame: float) -> None:
        self.tokenizer, self.frame = tokenizer, frame

    def words(self, tokens: Sequence[Token], limit: float = math.inf) -> list[Word]:
        """The words that the tokens of one utterance spell, without spaces; times to the millisecond.

        limit: seconds; no time is later.
        """
        words, latest = [], limit if limit == math.inf else math.floor(1e3 * limit + 1e-6) / 1e3
        for group in self._groups(tokens):
            text = "".join(self.tokenizer.decode([token.id for token in group]).split())
            if text:
                start = min(round(group[0].frame * self.frame, 3), latest)
                end = min(round((group[-1].frame + 1) * self.frame, 3), latest)
                words.append(Word(text, start, end, confidence([token.logprob for token in group])))
        return words

    def segment(self, tokens: Sequence[Token], limit: float = math.inf) -> Segment | None:
        """A whole utterance; None when its tokens spell nothing."""
        words = tuple(self.words(tokens, limit))
        if not words:
            return None
        text, sure = " ".join(w.text for w in words), confidence([token.logprob for token in tokens])
        return Segment(text, words, words[0].start, words[-1].end, sure)

    def _groups(self, tokens: Sequence[Token]) -> list[list[Token]]:
        groups: list[list[Token]] = []
        for token in tokens:
            if groups and not self.tokenizer.starts_word(token.id):
                groups[-1].append(token)
            else:
                groups.append([token])
        return groups


def confidence(logprobs: Sequence[float]) -> float:
    """The geometric mean of tokens' probabilities, in [0, 1]."""
    return math.exp(sum(logprobs) / len(logprobs))
