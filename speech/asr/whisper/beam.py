"""Running texts of a stream, and how their next ids are chosen: greedily, by beam search, or drawn at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from speech.asr.whisper.guard import Guard
from speech.asr.whisper.tokenizer import UNKNOWN

Candidate = tuple[int, float, float]
"""An id, its logit and its log-probability."""


@dataclass
class Text:
    """A running text. ids: its opening, then from `begin` on the text itself.

    frames, logits, logprobs: of each id, as in `Hypothesis`; those of the opening do not count. fed: so many first ids
    have keys and values that count. ended: nothing follows for now. final: log-probability of the end where it came.
    score: of a beam.
    """

    begin: int
    ids: list[int]
    frames: list[int]
    logits: list[float]
    logprobs: list[float]
    fed: int = 0
    ended: bool = False
    final: float | None = None
    score: float = 0.0

    @classmethod
    def begun(cls, opening: Sequence[int]) -> Text:
        """One that has its opening alone."""
        nothing = [0] * len(opening)
        return cls(len(opening), list(opening), nothing, [*map(float, nothing)], [*map(float, nothing)])

    @property
    def text(self) -> list[int]:
        """The ids behind the opening."""
        return self.ids[self.begin :]

    def cut(self, count: int) -> None:
        """Keep the first `count` ids."""
        for part in (self.ids, self.frames, self.logits, self.logprobs):
            del part[count:]
        self.fed = min(self.fed, count)

    def copy(self) -> Text:
        """One that changes by itself."""
        lists = {name: getattr(self, name).copy() for name in ("ids", "frames", "logits", "logprobs")}
        return replace(self, **lists)


@dataclass(frozen=True)
class Scores:
    """What the decoder says of a text of `count` ids: about its last ids, and about the one to come.

    own: logits of the last ids that are there. total: the log of the sum of exponentials at each of these and at the
    next; best, values: ids and logits of the best candidates there, best first.
    """

    count: int
    own: list[float]
    total: list[float]
    best: list[list[int]]
    values: list[list[float]]

    @property
    def known(self) -> int:
        """The first place in the text whose own logit is here."""
        return self.count - len(self.own)

    def candidates(self, place: int) -> list[Candidate]:
        """The best ids for a place, each with its logit and log-probability."""
        at = place - 1 - self.count
        return [(i, v, v - self.total[at]) for i, v in zip(self.best[at], self.values[at], strict=True)]

    def renew(self, text: Text) -> None:
        """Write what the ids of a text score now."""
        for i in range(max(self.known, text.begin), len(text.ids)):
            text.logits[i] = self.own[i - self.count]
            text.logprobs[i] = text.logits[i] - self.total[i - 1 - self.count]


@dataclass
class Beams:
    """The texts of one stream, best first.

    frame: the last encoder frame heard. stable: so many first ids of all texts are not taken back. asked: how many last
    places the next pass is to score. width: ids of the longest text in the last pass. limit: ids that a text may have.
    done: nothing more comes for now. finished: texts of a window that have come to their end. no_speech, language: see
    `Hypothesis`.
    """

    texts: list[Text]
    frame: int
    stable: int = 0
    asked: int = 1
    width: int = 0
    limit: int = 0
    done: bool = False
    finished: list[Text] = field(default_factory=list)
    no_speech: float | None = None
    language: str | None = None

    def speak(self, code: str, token: int) -> None:
        """Write the language that was found out, by its code and id, into the beginning of every text."""
        self.language = code
        for text in self.texts:
            text.ids[text.ids.index(UNKNOWN)] = token

    def settled(self, look_back: int) -> int:
        """How many first ids all texts share and none may take back, since only its last ones are checked again."""
        texts = [text.text for text in self.texts]
        shared = next((i for i, ids in enumerate(zip(*texts, strict=False)) if len(set(ids)) > 1), None)
        shortest = min(map(len, texts))
        return max(self.stable, min(shortest - look_back, shortest if shared is None else shared))

    def drop(self) -> None:
        """Drop what the last pass added to the longest texts."""
        for text in self.texts:
            text.cut(self.width or len(text.ids))


class Chooser:
    """Chooses ids. end: the id of the end; guard: cuts a text that repeats itself; compatible: see `Request`."""

    width: int
    """How many candidates of a place it looks at."""

    def __init__(self, end: int, guard: Guard | None, compatible: bool) -> None:
        self.end, self.guard, self.compatible = end, guard, compatible

    def candidates(self, logits: Tensor) -> Tensor:
        """Ids that may come, best first, of some last places: [b, u, vocabulary] -> [b, up to u, width]."""
        return logits.topk(self.width).indices

    def stable(self, text: Text, scores: Scores, place: int) -> bool:
        """Whether an id that is there still holds with what was heard since."""
        raise NotImplementedError

    def choose(self, beams: Beams, scores: list[Scores]) -> list[int]:
        """Go on by one id; returns the text that each new text comes from."""
        raise NotImplementedError

    def best(self, beams: Beams) -> Text:
        """What the stream says."""
        raise NotImplementedError

    def check(self, beams: Beams, scores: list[Scores], look_back: int) -> None:
        """Take every text back to the first of its last ids that is not stable, and renew what the others score."""
        for text, told in zip(beams.texts, scores, strict=True):
            places = range(text.begin + max(beams.stable, len(text.text) - look_back), len(text.ids))
            text.cut(next((i for i in places if not self.stable(text, told, i)), len(text.ids)))
            told.renew(text)

    def grown(self, beams: Beams, text: Text, candidate: Candidate) -> Text:
        """A text and one more id, or its end."""
        token, logit, logprob = candidate
        if token == self.end:
            return replace(text.copy(), ended=True, final=logprob)
        new = text.copy()
        new.ids.append(token)
        new.frames.append(beams.frame)
        new.logits.append(logit)
        new.logprobs.append(logprob)
        said = new.text
        kept = self.guard.kept(said) if self.guard else len(said)
        if kept < len(said):
            new.cut(new.begin + max(kept, beams.stable))
            new.ended = True
        return new


class Greedy(Chooser):
    """The best id, one text a stream.

    With a new chunk an id is stable where its logit has not fallen or it is the best still (arXiv 2508.12301).
    """

    width = 1

    def stable(self, text: Text, scores: Scores, place: int) -> bool:
        own = scores.own[place - scores.count]
        return own >= text.logits[place] or scores.candidates(place)[0][0] == text.ids[place]

    def choose(self, beams: Beams, scores: list[Scores]) -> list[int]:
        text, told = beams.texts[0], scores[0]
        taken_back = len(text.ids) < told.count
        if self.compatible and taken_back and told.candidates(told.count)[0][0] == self.end:
            text.ended = True
        else:
            beams.texts = [self.grown(beams, text, told.candidates(len(text.ids))[0])]
        beams.done = beams.texts[0].ended
        return [0]

    def best(self, beams: Beams) -> Text:
        return beams.texts[0]


class Drawn(Greedy):
    """An id drawn at random, one text a window.

    temperature: by which logits are divided before. generator: where chance comes from; on its device ids are drawn.
    """

    def __init__(self, temperature: float, generator: torch.Generator, end: int, guard: Guard | None) -> None:
        super().__init__(end, guard, compatible=False)
        self.temperature, self.generator = temperature, generator

    def candidates(self, logits: Tensor) -> Tensor:
        chances = (logits[:, -1] / self.temperature).softmax(-1).to(self.generator.device)
        return torch.multinomial(chances, 1, generator=self.generator)[:, None].to(logits.device)


class Beam(Chooser):
    """The texts of `size` with the highest sums of log-probabilities (Radford et al. 2022, section 4.5).

    With a new chunk an id is stable where it is among the `size` best (arXiv 2508.12301); a chunk is done as soon as
    one of the best texts comes to its end. A window (`whole`) goes on until `size` texts have come to their end. The
    best of all has the highest score by length, see `Request.length_penalty`.
    """

    def __init__(
        self, size: int, penalty: float | None, whole: bool, end: int, guard: Guard | None, compatible: bool
    ) -> None:
        super().__init__(end, guard, compatible)
        self.size, self.penalty, self.whole, self.width = size, penalty, whole, size + 1

    def stable(self, text: Text, scores: Scores, place: int) -> bool:
        return text.ids[place] in [token for token, _, _ in scores.candidates(place)[: self.size]]

    def choose(self, beams: Beams, scores: list[Scores]) -> list[int]:
        kept: list[tuple[Text, int]] = []
        for score, source, candidate in self._ranked(beams, scores):
            text = replace(self.grown(beams, beams.texts[source], candidate), score=score)
            if self.whole and text.ended:
                beams.finished.append(text)
            else:
                kept.append((text, source))
            if len(kept) == self.size:
                break
        beams.done = not kept or (
            len(beams.finished) >= self.size if self.whole else any(text.ended for text, _ in kept)
        )
        if not kept:
            return list(range(self.size))
        best, origin = kept[0]
        kept += [(best.copy(), origin) for _ in range(self.size - len(kept))]
        beams.texts = [text for text, _ in kept]
        return [source for _, source in kept]

    def _ranked(self, beams: Beams, scores: list[Scores]) -> list[tuple[float, int, Candidate]]:
        """All ways to go on, best first: score, the text that goes on, and with what. Equal ones count once."""
        found: dict[tuple[int, ...], tuple[float, int, Candidate]] = {}
        for source, (text, told) in enumerate(zip(beams.texts, scores, strict=True)):
            said = sum(text.logprobs[text.begin : len(text.ids) - self.compatible])
            for candidate in told.candidates(len(text.ids)):
                if candidate[1] > -math.inf:
                    found[*text.ids, candidate[0]] = (said + candidate[2], source, candidate)
        return sorted(found.values(), key=lambda way: way[0], reverse=True)

    def best(self, beams: Beams) -> Text:
        texts = beams.finished[: self.size]
        texts += sorted(beams.texts, key=lambda text: -text.score)[: self.size - len(texts)]
        return max(texts, key=lambda text: text.score / self._length(len(text.text)))

    def _length(self, count: int) -> float:
        return max(count, 1) if self.penalty is None else ((5 + count) / 6) ** self.penalty
