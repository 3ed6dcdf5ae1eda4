"""A layout in which text stands beside the codes: symbol by symbol, each for as many codes as the model gives it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from speech.errors import SpeechError
from speech.tts.layout import NOTHING, Example, Layout, Row, Script, Utterance, Vocabulary, only


@dataclass(frozen=True)
class Aligned(Layout):
    """Every input is the code before (at a symbol's beginning, fill) plus the symbol that is spoken and those after it.

    The model says the codes of a symbol one after another and then fill, with which the next symbol begins; the fill of
    the last symbol ends the stream. So no symbol can be left out or said twice, every symbol's time is known, and text
    may come while speech goes on: a symbol can be spoken when the `vocabulary.ahead` symbols after it are known, or the
    text's end. The symbols ahead have a table for each place, which sums to a convolution over the symbols.

    fewest, most: codes of a symbol.
    """

    vocabulary: Vocabulary
    fewest: int = 0
    most: int = 50

    def __post_init__(self) -> None:
        if self.vocabulary.ahead is None or not 0 <= self.fewest <= self.most or self.most < 1:
            raise SpeechError(
                "expected a vocabulary of symbols beside codes and 0 <= fewest <= most codes of a symbol, got ahead "
                f"{self.vocabulary.ahead}, fewest {self.fewest} and most {self.most}: correct them"
            )

    def example(self, utterance: Utterance) -> Example:
        fill, rows, targets = self.vocabulary.fill, [], []
        for at, codes in enumerate(spans(utterance)):
            rows += [self.row(id, utterance.text, at, utterance.voice) for id in (fill, *codes)]
            targets += [*codes, fill]
        return Example(rows, targets)

    def script(self, prompt: Utterance = NOTHING, rate: float = 1.0) -> AlignedScript:
        """rate: the odds of going on to the next symbol are multiplied by it, so that above 1 speech is faster.

        It is exact where a symbol's length is forgotten from code to code; the prompt's voice is the stream's.
        """
        return AlignedScript(self, prompt, rate)

    def row(self, id: int, symbols: Sequence[int], at: int, voice: int) -> Row:
        """The input that holds `id`, spoken or fill, in the symbol `symbols[at]`."""
        v, last = self.vocabulary, self.vocabulary.text - 1
        near = [*symbols[at : at + 1 + (v.ahead or 0)]]
        near += [last] * (1 + (v.ahead or 0) - len(near))
        row = (id, *(v.first_text + place * v.text + symbol for place, symbol in enumerate(near)))
        return (*row, v.first_voice + voice) if v.voices else row


class AlignedScript(Script):
    """A stream under `Aligned`. starts: for every symbol that was begun, the codes of the stream before it."""

    def __init__(self, layout: Aligned, prompt: Utterance, rate: float) -> None:
        super().__init__(layout.vocabulary)
        if not 0 < rate < math.inf:
            raise SpeechError(f"expected a rate above 0, got {rate}: 1 is the voice's own")
        if not 0 <= prompt.voice < max(self.vocabulary.voices, 1):
            raise SpeechError(f"expected a voice below {self.vocabulary.voices}, got {prompt.voice}: choose another")
        self.layout, self.prompt = layout, prompt
        self.starts: list[int] = []
        self._bias = math.log(rate)
        self._symbols, self._prompted = [*prompt.text], spans(prompt)
        self._at = 0  # the symbol that is spoken, or comes next
        self._begun = 0  # codes of the stream before it
        self._codes: list[int] = []

    def push(self, text: Iterable[int]) -> None:
        before = len(self.text)
        super().push(text)
        self._symbols += self.text[before:]

    @property
    def done(self) -> bool:
        return self.ended and (not self.text or self._at == len(self._symbols))

    @property
    def history(self) -> list[int]:
        """The speech codes: fills repeat by design."""
        return self._codes

    @property
    def apart(self) -> int:
        """Fill: how long a symbol lasts should not depend on how many codes compete."""
        return self.vocabulary.fill

    def _row(self, id: int) -> Row:
        return self.layout.row(id, self._symbols, self._at, self.prompt.voice)

    def _arrange(self) -> None:
        ahead = 0 if self.ended else self.vocabulary.ahead or 0
        while self._at + ahead < len(self._symbols):
            self._pending.append(self._row(self.vocabulary.fill))
            if self._at >= len(self._prompted):
                self._begun, self._speaking = len(self._codes), True
                self.starts.append(self._begun)
                return
            self._pending += [self._row(code) for code in self._prompted[self._at]]
            self._at += 1

    def admit(self, scores: Tensor) -> Tensor:
        v = self.vocabulary
        if len(self._codes) - self._begun < self.layout.fewest:
            return only(scores, v.codes)
        out = scores.clone()
        out[v.fill] += self._bias
        return out

    def take(self, id: int) -> int | None:
        self.ids.append(id)
        if id == self.vocabulary.fill:
            self._at, self._speaking = self._at + 1, False
            return None
        self._codes.append(id)
        self.symbol = self._symbols[self._at]
        self._pending = [self._row(id)]
        if len(self._codes) - self._begun == self.layout.most:
            self.take(self.vocabulary.fill)  # the decoder need not be asked
        return id


def spans(utterance: Utterance) -> list[Sequence[int]]:
    """The codes of every symbol. Raises SpeechError if the counts do not fit the text and the codes."""
    text, codes, counts = utterance.text, utterance.codes, utterance.counts
    if len(counts) != len(text) or sum(counts) != len(codes) or min(counts, default=0) < 0:
        raise SpeechError(
            f"expected how many codes each of {len(text)} symbols takes, {len(codes)} in all, got {len(counts)} counts "
            f"with the sum {sum(counts)}: align the utterance again"
        )
    out, end = [], 0
    for count in counts:
        out.append(codes[end : end + count])
        end += count
    return out
