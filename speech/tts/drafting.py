"""Guessing the ids that follow the next one, by the draft heads of the language model (`TextSpeechLM.drafts`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speech.streaming.lane import Asking, Call, Seat
from speech.tts.layout import Row, Script
from speech.tts.lm import TextSpeechLM
from speech.tts.sampling import Sampler
from speech.tts.scoring import parted


class Draft:
    """What one stream is guessed to say, found on copies of its script and sampler, so that it knows nothing of it.

    It guesses as the stream will choose, by the draws that will come: where head and decoder think alike, so does their
    choice. It ends with an id that the layout follows with other than one row, and where `SamplingConfig.accept` is a
    number before a guess that is less probable.

    row: what the decoder takes next; state: [d], the decoder's before that row. rows: that row, and the row of every
    guess. scores: by the heads, [outputs] each, of what follows these rows; the last row may have none.
    """

    def __init__(self, script: Script, sampler: Sampler, row: Row, state: Tensor) -> None:
        self.rows, self._state = [row], state
        self.scores: list[Tensor] = []
        self._script, self._sampler = script.fork(), sampler.fork()
        self._ended = False

    def guessing(self, lm: TextSpeechLM, heads: Sequence[Seat]) -> Asking[None]:
        """Let one head after another guess. heads: where they step."""
        for seat in heads:
            if self._ended or len(self.scores) == self._sampler.config.drafts:
                return
            row = lm.embedded(torch.tensor(self.rows[-1], device=self._state.device))
            states, scores = parted(lm, (yield Call(seat, torch.stack([self._state, row]), 0)))
            self._extend(scores[0], states[0])

    def _extend(self, scores: Tensor, state: Tensor) -> None:
        """Guess what follows the last row. scores: [outputs]; state: [d] behind that row; both by a head."""
        script, least = self._script, self._sampler.config.accept
        admitted = script.admit(scores)
        id = self._sampler(admitted, script.history, script.apart)
        if least is not None and admitted.softmax(-1)[id] < least:
            self._ended = True
            return
        self._state = state
        self.scores.append(scores)
        script.take(id)
        rows = script.feed()
        self._ended = len(rows) != 1
        self.rows += [] if self._ended else rows
