"""Where one utterance ends and the next begins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from speech.asr.greedy import Token
from speech.asr.tokenizer import Tokenizer


@dataclass(frozen=True)
class EndpointConfig:
    """When an utterance ends, in seconds; after Kaldi's online endpoint rules, for utterances that begin with a token.

    silence: after this long without a token. longest: at the first new word after this long, so that no word is cut.
    voice_silence: after this long without voice, where voice activity is watched, and `settle` without a token, since
    the last tokens of a word come after its sound.
    """

    silence: float = 0.8
    longest: float = 20.0
    voice_silence: float = 0.5
    settle: float = 0.24


class Endpointer:
    """Cuts the tokens of a stream into utterances. The rules look at frame indices, so chunking cannot change them.

    frame: seconds of an encoder frame. Nothing of the network is reset at an endpoint but, after `silence`, the
    transducer's prediction network (`RNNTGreedy.restart`): encoder and CTC go on as if there were none.
    """

    def __init__(self, config: EndpointConfig, tokenizer: Tokenizer, frame: float) -> None:
        self.config, self.tokenizer, self.frame = config, tokenizer, frame
        self.running: list[Token] = []

    def advance(
        self, tokens: Iterable[Token], decoded: int, silences: Sequence[tuple[float, float]] = ()
    ) -> list[list[Token]]:
        """Take the next tokens; returns the utterances that ended, in order. What has not ended is in `running`.

        decoded: number of the stream's frames decoded so far. silences: (start, end) seconds of the recent stretches
        without voice, the end infinite while one lasts.
        """
        ended = []
        for token in tokens:
            if self.running and (self._paused(token.frame, silences) or self._overlong(token)):
                ended.append(self.finish())
            self.running.append(token)
        if self.running and self._paused(decoded, silences):
            ended.append(self.finish())
        return ended

    def finish(self) -> list[Token]:
        """End the running utterance."""
        tokens, self.running = self.running, []
        return tokens

    def _paused(self, frame: int, silences: Sequence[tuple[float, float]]) -> bool:
        """Whether a pause ended the running utterance before `frame`, with no token in between."""
        quiet_from = self.running[-1].frame + 1
        if frame - quiet_from >= frames(self.config.silence, self.frame):
            return True
        settled = quiet_from + frames(self.config.settle, self.frame)
        for start, end in silences:
            cut = max(settled, frames(start + self.config.voice_silence, self.frame))
            if cut <= frame and cut * self.frame < end:
                return True
        return False

    def _overlong(self, token: Token) -> bool:
        """Whether the token begins a word after the longest time an utterance may take."""
        far = token.frame - self.running[0].frame >= frames(self.config.longest, self.frame)
        return far and self.tokenizer.starts_word(token.id)


def frames(seconds: float, frame: float) -> int:
    """Whole frames that cover `seconds`; frame: seconds of one."""
    return math.ceil(round(seconds / frame, 6))
