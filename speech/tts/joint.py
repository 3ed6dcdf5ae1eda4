"""The two layouts of CosyVoice 2 (arXiv 2412.10117, section 2.3): text and codes take turns in one sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from speech.errors import SpeechError
from speech.tts.layout import IGNORE, NOTHING, Example, Layout, Row, Script, Utterance, Vocabulary, only

MOST = 20
"""Codes a text id at the most: 0.8 s at 25 codes a second. A model that says more has lost its way."""


@dataclass(frozen=True)
class Whole(Layout):
    """sos, all text, task, all codes, eos: nothing is spoken before the text has ended.

    fewest, most: codes for each text id to be spoken, the prompt's not counted.

    stock: what the original does, for equal ids. Besides codes it lets fill and the spare ids come, each of which ends
    the stream, and it keeps the first id after the codes from coming too early, which in CosyVoice 3 is not eos.
    """

    vocabulary: Vocabulary
    fewest: int = 2
    most: int = MOST
    stock: bool = False

    def __post_init__(self) -> None:
        _check(self.vocabulary)

    def example(self, utterance: Utterance) -> Example:
        v = self.vocabulary
        head = [v.sos, *_text(v, utterance.text), v.task]
        targets = [IGNORE] * (len(head) - 1) + [*utterance.codes, v.eos]
        return Example(_rows([*head, *utterance.codes]), targets)

    def script(self, prompt: Utterance = NOTHING, instruction: Sequence[int] = ()) -> WholeScript:
        """instruction: text ids that are not spoken and stand before all others."""
        return WholeScript(self, prompt, instruction)


class WholeScript(Script):
    """A stream under `Whole`."""

    def __init__(self, layout: Whole, prompt: Utterance, instruction: Sequence[int]) -> None:
        super().__init__(layout.vocabulary)
        self.layout, self.prompt, self.instruction = layout, prompt, instruction
        self._stopped = False

    @property
    def done(self) -> bool:
        return self._stopped or (self.ended and not self.text)

    def _arrange(self) -> None:
        if self.ended:
            v = self.vocabulary
            text = _text(v, [*self.instruction, *self.prompt.text, *self.text])
            self._pending = _rows([v.sos, *text, v.task, *self.prompt.codes])
            self._speaking = True

    def admit(self, scores: Tensor) -> Tensor:
        v, early = self.vocabulary, len(self.ids) < self.layout.fewest * len(self.text)
        if self.layout.stock:
            return _without(scores, v.codes) if early else scores
        return only(scores, v.codes) if early else only(scores, v.codes, v.eos)

    def take(self, id: int) -> int | None:
        self.ids.append(id)
        if id >= self.vocabulary.codes:
            self._stopped = True
            return None
        self._pending = [(id,)]
        if len(self.ids) >= self.layout.most * len(self.text):
            self._stopped, self.failure = True, runaway(len(self.ids), len(self.text))
        return self._said(id)


@dataclass(frozen=True)
class Interleaved(Layout):
    """sos, then blocks of 5 text ids and 15 codes; after the 15th code fill is predicted, and the next block follows.

    The last block holds what text is left (fewer than 5 ids), task, all codes that are left, and eos. A fill is never
    an input. Speech begins with the first 5 text ids, and text that comes later goes on in the same sequence.

    stock: what the original does, for equal ids, besides what this layout does. When the text ends after a fill, its
    last input is fed once more; where the prompt's codes end with a block, that block gets as many codes again; and of
    the prompt's codes those that the text did not reach are dropped. Training shows none of it, so by default none of
    it happens, and only ids that training knows at this point may come.
    """

    vocabulary: Vocabulary
    text: int = 5
    codes: int = 15
    most: int = MOST
    stock: bool = False

    def __post_init__(self) -> None:
        _check(self.vocabulary)

    def example(self, utterance: Utterance) -> Example:
        v, text, codes = self.vocabulary, _text(self.vocabulary, utterance.text), [*utterance.codes]
        full = len(text) // self.text
        if len(codes) < full * self.codes:
            raise SpeechError(
                f"expected at least {full * self.codes} codes for {len(text)} text ids, got {len(codes)}: lay so fast "
                "an utterance out whole"
            )
        rows, targets = [v.sos], [IGNORE]
        for i in range(full):
            block = codes[i * self.codes : (i + 1) * self.codes]
            rows += [*text[i * self.text : (i + 1) * self.text], *block]
            targets += [IGNORE] * (self.text - 1) + [*block, v.fill]
        rest, last = text[full * self.text :], codes[full * self.codes :]
        rows += [*rest, v.task, *last]
        targets += [IGNORE] * len(rest) + [*last, v.eos]
        return Example(_rows(rows), targets)

    def script(self, prompt: Utterance = NOTHING, instruction: Sequence[int] = ()) -> InterleavedScript:
        """instruction: text ids that are not spoken and stand, all at once, before all others."""
        return InterleavedScript(self, prompt, instruction)


class InterleavedScript(Script):
    """A stream under `Interleaved`."""

    def __init__(self, layout: Interleaved, prompt: Utterance, instruction: Sequence[int]) -> None:
        super().__init__(layout.vocabulary)
        self.layout = layout
        self._waiting = _text(self.vocabulary, prompt.text)  # text that is in no block yet
        self._codes = [*prompt.codes]  # the prompt's codes that are in no block yet
        self._pending = _rows([self.vocabulary.sos, *_text(self.vocabulary, instruction)])
        self._last: list[Row] = []  # the original's last input
        self._due = layout.codes - len(self._codes) % layout.codes  # how many ids come before a fill must
        self._final = self._stopped = False

    def push(self, text: Iterable[int]) -> None:
        before = len(self.text)
        super().push(text)
        self._waiting += _text(self.vocabulary, self.text[before:])

    @property
    def done(self) -> bool:
        return self._stopped or (self.ended and not self.text)

    def _arrange(self) -> None:
        """Blocks while there is text for them: all blocks of the prompt, or one; at the end of the text the last."""
        if not self.text:
            return
        size, most = self.layout.text, self.layout.codes
        while len(self._waiting) >= size and not self._speaking:
            text, codes = self._waiting[:size], self._codes[:most]
            self._waiting, self._codes = self._waiting[size:], self._codes[most:]
            block = _rows([*text, *codes])
            self._last = block if self.ids else [*self._pending, *block]
            self._pending += block
            self._speaking = not self._codes and (len(codes) < most or self.layout.stock)
        if self.ended and not self._speaking:
            again = self._last if self.layout.stock and self.ids else []
            rest = [] if self.layout.stock else self._codes
            self._pending += [*again, *_rows([*self._waiting, self.vocabulary.task, *rest])]
            self._final = self._speaking = True

    def admit(self, scores: Tensor) -> Tensor:
        v = self.vocabulary
        if self.layout.stock:
            return scores if self._final else _without(scores, v.codes)
        return only(scores, v.codes, v.eos if self._final else v.fill)

    def take(self, id: int) -> int | None:
        v, at = self.vocabulary, len(self.ids)
        self.ids.append(id)
        if id < v.codes:
            self._pending = self._last = [(id,)]
            if not self._final and at + 1 == self._due:
                self.take(v.fill)  # the decoder need not be asked; the code waits to be fed with what comes next
            elif self._final and at + 1 >= self.layout.most * len(self.text):
                self._stopped, self.failure = True, runaway(at + 1, len(self.text))
            return self._said(id)
        if id == v.fill and not self._final:
            self._due, self._speaking = at + self.layout.codes + 1, False
            return None
        self._stopped = True
        if id != v.eos:
            self.failure = f"expected a speech code or the end, got the id {id}: try another seed"
        return None


def _check(vocabulary: Vocabulary) -> None:
    if vocabulary.ahead is not None:
        raise SpeechError("expected a vocabulary of text and codes in turn, got one of symbols beside codes: lay it so")


def runaway(codes: int, text: int) -> str:
    """The message of a stream that does not end."""
    return f"expected the speech to end, got {codes} codes for {text} text ids: try another seed or another voice"


def _text(vocabulary: Vocabulary, text: Iterable[int]) -> list[int]:
    return [vocabulary.first_text + id for id in text]


def _rows(ids: Iterable[int]) -> list[Row]:
    return [(id,) for id in ids]


def _without(scores: Tensor, id: int) -> Tensor:
    return scores.index_fill(0, scores.new_tensor([id]).long(), -float("inf"))
