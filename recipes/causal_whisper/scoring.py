"""How good running hypotheses are: against the words spoken so far, and how long after its end a word stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jiwer
import numpy as np

from recipes.causal_whisper.labels import Span


class Partial(NamedTuple):
    """What stands written when a stream has been heard for so many seconds."""

    heard: float
    words: list[str]


@dataclass
class Tally:
    """Scores over utterances, added one by one. whole: what is written when an utterance is decoded at once."""

    meant: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    streamed: list[str] = field(default_factory=list)
    so_far: list[tuple[str, str]] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def add(self, words: Sequence[str], times: Sequence[Span], whole: Sequence[str], partials: list[Partial]) -> None:
        """One utterance: its words and their times in seconds, what was written at once, and what chunk by chunk."""
        final = partials[-1].words if partials else []
        self.meant.append(" ".join(words))
        self.whole.append(" ".join(whole))
        self.streamed.append(" ".join(final))
        for partial in partials:
            spoken = [word for word, (_, end) in zip(words, times, strict=True) if end <= partial.heard]
            self.so_far.append((" ".join(spoken), " ".join(partial.words)))
        stands = settled(partials)
        self.delays += [stands[j] - times[i][1] for i, j in matches(words, final)]

    def scores(self) -> dict[str, Any]:
        """Error rates in percent: `whole`, `streaming`, and `partial` of all running hypotheses (ARWER); `delay_ms`."""
        rates = {
            "whole": jiwer.wer(self.meant, self.whole),
            "streaming": jiwer.wer(self.meant, self.streamed),
            "partial": jiwer.wer([a for a, _ in self.so_far], [b for _, b in self.so_far]),
        }
        result: dict[str, Any] = {name: round(100 * rate, 2) for name, rate in rates.items()}
        median, last = (round(1000 * float(x)) for x in np.percentile(self.delays or [0], (50, 95)))
        return result | {"delay_ms": {"median": median, "p95": last} if self.delays else None}


def settled(partials: Sequence[Partial]) -> list[float]:
    """When each word of the last hypothesis came to stand: it and all before it are the same from then on. Seconds."""
    if not partials:
        return []
    final = partials[-1].words
    times, agreed = [partials[-1].heard] * len(final), len(final)
    for partial in reversed(partials):
        same = [a == b for a, b in zip(partial.words, final, strict=False)]
        agreed = min(agreed, same.index(False) if False in same else len(same))
        times[:agreed] = [partial.heard] * agreed
    return times


def matches(meant: Sequence[str], said: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of the words that a minimal edit leaves as they are, in `meant` and in `said`."""
    if not meant or not said:
        return []
    (parts,) = jiwer.process_words(" ".join(meant), " ".join(said)).alignments
    return [
        (part.ref_start_idx + k, part.hyp_start_idx + k)
        for part in parts
        if part.type == "equal"
        for k in range(part.ref_end_idx - part.ref_start_idx)
    ]
