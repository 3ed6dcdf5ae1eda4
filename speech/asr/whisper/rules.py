"""Which ids may come next: what Whisper never says, and the order of its time symbols."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speech.asr.whisper.tokenizer import Symbols

BLANK = 220
"""The id of a lone space in both vocabularies."""

FIRST_TIME = 50
"""The latest time symbol with which a window may begin: 1 s."""

NEVER = -torch.inf

_BOTH = (1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93)
_MULTILINGUAL = (
    *(359, 503, 522, 542, 873, 893, 902, 918, 922, 931, 1350, 1853, 1982, 2460, 2627, 3246, 3253, 3268, 3536, 3846),
    *(3961, 4183, 4667, 6585, 6647, 7273, 9061, 9383, 10428, 10929, 11938, 12033, 12331, 12562, 13793, 14157, 14635),
    *(15265, 15618, 16553, 16604, 18362, 18956, 20075, 21675, 22520, 26130, 26161, 26435, 28279, 29464, 31650, 32302),
    *(32470, 36865, 42863, 47425, 49870, 50254),
)
_ENGLISH = (
    *(357, 366, 438, 532, 685, 705, 796, 930, 1058, 1220, 1267, 1279, 1303, 1343, 1377, 1391, 1635, 1782, 1875, 2162),
    *(2361, 2488, 3467, 4008, 4211, 4600, 4808, 5299, 5855, 6329, 7203, 9609, 9959, 10563, 10786, 11420, 11709, 11907),
    *(13163, 13697, 13700, 14808, 15306, 16410, 16791, 17992, 19203, 19510, 20724, 22305, 22935, 27007, 30109, 30420),
    *(33409, 34949, 40283, 40493, 40549, 47282, 49146),
)


def unspoken(symbols: Symbols) -> tuple[int, ...]:
    """Ids that stand for nothing that is said: brackets, notes, dashes and quotes at the start of a word, and others.

    Whisper's own choice (Radford et al. 2022, section 4.5 and its published decoder), which hangs on the vocabulary
    alone.
    """
    return _BOTH + (_MULTILINGUAL if symbols.multilingual else _ENGLISH)


class Rules:
    """Takes from logits what may not come. suppress: ids of text, None for `unspoken`; times: time symbols are asked.

    Symbols that only open a transcript never come. With times (Radford et al. 2022, section 4.5): a window begins with
    one of at most 1 s, they come in pairs that end one segment and begin the next, or before the end, never fall, and
    come where together they are likelier than any id of text.
    """

    def __init__(self, symbols: Symbols, suppress: Sequence[int] | None, times: bool) -> None:
        s = self.symbols = symbols
        self.times = times
        opening = (s.start, s.translate, s.transcribe, s.start_of_lm, s.start_of_previous, s.no_speech)
        self._never = torch.tensor([*(unspoken(s) if suppress is None else suppress), *opening])
        self._first = [] if suppress == () else [BLANK, s.end]

    def __call__(self, logits: Tensor, texts: Sequence[Sequence[int]]) -> None:
        """logits: [b, u, vocabulary], changed in place; texts: what each row has said before its last logits."""
        logits.index_fill_(-1, self._never.to(logits.device), NEVER)
        for row, text in zip(logits, texts, strict=True):
            if len(text) < len(row):
                row[-1 - len(text), self._first] = NEVER
            if self.times:
                self._timed(row[-1], text)

    def _timed(self, row: Tensor, text: Sequence[int]) -> None:
        """row: [vocabulary]."""
        first, end = self.symbols.times, self.symbols.end
        row[self.symbols.no_timestamps] = NEVER
        said = [i for i in text if i >= first]
        last = bool(text) and text[-1] >= first
        paired = last and (len(text) < 2 or text[-2] >= first)
        if not text:
            row[:first] = NEVER
            row[first + FIRST_TIME + 1 :] = NEVER
        if paired:
            row[first:] = NEVER
        elif last:
            row[:end] = NEVER
        if said:
            row[first : said[-1] + (not last or paired)] = NEVER
        if row[first:].logsumexp(0) > row[:first].max():
            row[:first] = NEVER
