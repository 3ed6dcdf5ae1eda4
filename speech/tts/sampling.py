"""How an id is chosen from scores: greedy, nucleus, and repetition-aware sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from numbers import Integral

import torch
from torch import Tensor

from speech.errors import SpeechError


@dataclass(frozen=True)
class SamplingConfig:
    """Repetition-aware sampling (VALL-E 2, arXiv 2406.05370, section 3.1) with the defaults of CosyVoice 2.

    The id is drawn from the nucleus: the likeliest `top_k` ids, of them the first whose probability sums to `top_p`
    (Holtzman et al. 2019, arXiv 1904.09751). If it came `repeats` times or more among the last `window` ids, another
    is drawn from all ids but this one. temperature 0: the likeliest id, always. top_k None: no limit. window 0:
    repetition is not looked at.

    drafts: ids that heads of the model may guess after each pass of the decoder. accept None: the next pass verifies
    them, so that the result is the same as without, up to rounding. accept: a guess of at least this probability
    counts without being verified, which is faster and another result.
    """

    temperature: float = 1.0
    top_p: float = 0.8
    top_k: int | None = 25
    window: int = 10
    repeats: int = 1
    drafts: int = 0
    accept: float | None = None

    def __post_init__(self) -> None:
        counts = (1 if self.top_k is None else self.top_k, self.repeats, self.window + 1)
        if self.temperature < 0 or not 0 < self.top_p <= 1 or min(counts) < 1:
            raise SpeechError(
                "expected temperature >= 0, 0 < top_p <= 1, top_k >= 1, window >= 0 and repeats >= 1, got "
                f"{self}: correct them"
            )
        if self.drafts < 0 or (self.accept is not None and not (self.drafts and 0 < self.accept <= 1)):
            raise SpeechError(
                f"expected drafts >= 0 and 0 < accept <= 1 beside drafts only, got drafts {self.drafts} and accept "
                f"{self.accept}: correct them"
            )


def uniform(generator: torch.Generator | None = None) -> Iterator[float]:
    """Endless uniform draws in [0, 1). Without a generator they differ from call to call."""
    source = torch.Generator() if generator is None else generator
    if generator is None:
        source.seed()
    while True:
        yield torch.rand((), generator=source, dtype=torch.float64, device=source.device).item()


def seeded(seed: int) -> torch.Generator:
    """A generator that repeats its draws. Raises SpeechError for a seed that is no integer of 64 bits."""
    if not isinstance(seed, Integral) or not -(1 << 63) <= seed < 1 << 64:
        raise SpeechError(f"expected an integer of 64 bits as seed, or none, got {seed!r}: choose another")
    return torch.Generator().manual_seed(int(seed))


class Sampler:
    """Chooses ids for one stream. draws: uniform numbers in [0, 1), one an id, and one more after a repetition."""

    def __init__(self, config: SamplingConfig = SamplingConfig(), draws: Iterator[float] | None = None) -> None:
        self.config = config
        self.draws = uniform() if draws is None else draws

    def __call__(self, scores: Tensor, history: Sequence[int] = (), apart: int | None = None) -> int:
        """scores: [n] logits or log-probabilities, -inf for an id that may not come; history: the ids so far. apart: an
        id that is decided on before all others, with its own probability, which their nucleus would raise.

        Raises SpeechError if no id may come, or a score is not a number.
        """
        c, scores = self.config, scores.float().cpu()
        best = scores.max()
        if not best.isfinite():
            raise SpeechError(f"expected a finite score for some id, got {best.item()} at best: the model is broken")
        if apart is not None and scores[apart].isfinite():
            likely = float((scores[apart] - scores.logsumexp(0)).exp())
            others = scores.index_fill(0, torch.tensor([apart]), -torch.inf)
            if likely > (0.5 if c.temperature == 0 else next(self.draws)) or not others.max().isfinite():
                return apart
            scores, best = others, others.max()
        if c.temperature == 0:
            return int(scores.argmax())
        scores = (scores - best) / c.temperature
        p = scores.softmax(-1)
        kept, ids = p.topk(len(p) if c.top_k is None else min(c.top_k, len(p)))
        count = 1 + int((kept.cumsum(0)[:-1] < c.top_p).sum())
        id = int(ids[self._draw(kept[:count])])
        if list(history[max(len(history) - c.window, 0) :]).count(id) < c.repeats:
            return id
        others = scores.index_fill(0, torch.tensor([id]), -torch.inf)
        return self._draw(others.softmax(-1)) if others.max().isfinite() else id

    def fork(self) -> Sampler:
        """A sampler that will choose by the draws that are to come here, and leaves them to come."""
        self.draws, draws = tee(self.draws)
        return Sampler(self.config, draws)

    def _draw(self, weights: Tensor) -> int:
        """The first index at which the distribution function exceeds the next draw. weights: [n], not negative."""
        cumulative = weights.double().cumsum(0)
        return int((cumulative / cumulative[-1] <= next(self.draws)).sum())
