"""Guessing the ids that follow the next one, by the draft heads of the language model (`TextSpeechLM.drafts`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speech.tts.layout import Row, Script
from speech.tts.lm import TextSpeechLM
from speech.tts.sampling import Sampler


class Draft:
    """What one stream is guessed to say, found on copies of its script and sampler, so that it knows nothing of it.

    It guesses as the stream will choose, by the draws that will come: where head and decoder think alike, so does their
    choice. It ends with an id that the layout follows with other than one row, and where `SamplingConfig.accept` is a
    number before a guess that is less probable.

    row: what the decoder takes next; state: [d], the decoder's before that row. rows: that row, and the row of every
    guess. scores: by the heads, [outputs] each, of what follows these rows; the last row may have none.
    """

    def __init__(self, script: Script, sampler: Sampler, row: Row, state: Tensor) -> None:
        self.rows, self.state = [row], state
        self.scores: list[Tensor] = []
        self._script, self._sampler = script.fork(), sampler.fork()
        self._ended = False

    @property
    def going(self) -> bool:
        """Whether there is anything more to guess."""
        return not self._ended and len(self.scores) < self._sampler.config.drafts

    def extend(self, scores: Tensor, state: Tensor) -> None:
        """Guess what follows the last row. scores: [outputs]; state: [d] behind that row; both by a head."""
        script, least = self._script, self._sampler.config.accept
        admitted = script.admit(scores)
        id = self._sampler(admitted, script.history, script.apart)
        if least is not None and admitted.softmax(-1)[id] < least:
            self._ended = True
            return
        self.state = state
        self.scores.append(scores)
        script.take(id)
        rows = script.feed()
        self._ended = len(rows) != 1
        self.rows += [] if self._ended else rows


def extend(lm: TextSpeechLM, drafts: Sequence[Draft]) -> None:
    """Let one head after another guess, each for all drafts at once."""
    for head in lm.drafts:
        going = [draft for draft in drafts if draft.going]
        if not going:
            return
        states = torch.stack([draft.state for draft in going])
        rows = torch.tensor([draft.rows[-1] for draft in going], device=states.device)
        states = head(states, lm.embedded(rows))
        for draft, scores, state in zip(going, lm.head(states).float().cpu(), states, strict=True):
            draft.extend(scores, state)
