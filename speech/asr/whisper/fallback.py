"""When a window of a recording is not to be believed: it says nothing, or is decoded again with a little chance."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from speech.asr.whisper.search import Hypothesis
from speech.errors import SpeechError


@dataclass(frozen=True)
class Fallback:
    """Rules for the windows of a recording (Radford et al. 2022, section 4.5).

    temperatures: at which a doubtful window is decoded again, one after another until one is not; () for never.
    logprob: a text is doubtful whose mean log-probability is lower. compression: or that zlib makes more times smaller,
    as it repeats itself. no_speech: a window says nothing where nobody speaks is likelier and the mean log-probability
    is below `logprob`. prompting: the text of a window that took a higher temperature does not prompt the next.

    Raises SpeechError for temperatures that are not above 0.
    """

    temperatures: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    logprob: float = -1.0
    compression: float = 2.4
    no_speech: float = 0.6
    prompting: float = 0.5

    def __post_init__(self) -> None:
        if not all(temperature > 0 for temperature in self.temperatures):
            raise SpeechError(f"expected temperatures above 0, got {self.temperatures}: correct them")

    def silent(self, said: Hypothesis) -> bool:
        """Whether nobody speaks in a window."""
        return (said.no_speech or 0.0) > self.no_speech and said.mean < self.logprob

    def doubtful(self, said: Hypothesis, text: str) -> bool:
        """Whether a window is to be decoded again. text: what its ids spell."""
        wrong = said.mean < self.logprob or compression(text) > self.compression
        return wrong and not self.silent(said)


def compression(text: str) -> float:
    """How many times smaller zlib makes a text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
