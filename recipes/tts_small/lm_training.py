"""The language model in training: whole utterances of about one length in a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from recipes.common.optim import AdamWConfig
from recipes.tts_small.parts import Part
from recipes.tts_small.pools import Weighted
from speech.errors import SpeechError
from speech.tts.aligned import Aligned
from speech.tts.layout import IGNORE, Batch, Utterance
from speech.tts.lm import TextSpeechLM

SECONDS = 0.04
"""Of a code."""

OTHERS = 0
"""The row of all voices that have none of their own, and of voices that are taken up from a recording."""


@dataclass(frozen=True)
class LMBatchConfig:
    """rows: inputs of the decoder in a batch, about. buckets: of utterances by length.

    reading: how much likelier a second of a reading voice is drawn than one of other speech. unknown: share of
    utterances that are given to the row of all other voices. held_out: batches for validation.
    """

    rows: int = 6000
    buckets: int = 8
    reading: float = 3.0
    unknown: float = 0.1
    held_out: int = 16


class TextBatch(NamedTuple):
    """As `speech.tts.layout.Batch`, in a form that Lightning moves to a device."""

    rows: Tensor
    lengths: Tensor
    targets: Tensor


class Texts(Dataset):
    """Item number -> TextBatch. All draws follow from the seed and the number. Raises SpeechError without utterances.

    weights: how likely a second of each utterance is drawn.
    """

    def __init__(
        self, utterances: list[Utterance], weights: list[float], layout: Aligned, config: LMBatchConfig, seed: int
    ) -> None:
        if not utterances:
            raise SpeechError("expected aligned utterances for the language model, found none: run stage=align first")
        self.layout, self.config, self.seed = layout, config, seed
        rows = [len(u.text) + len(u.codes) for u in utterances]
        order = np.argsort(rows, kind="stable")
        likely = np.array(weights) * rows
        bucket = np.cumsum(likely[order]) / likely.sum() * config.buckets  # equally likely buckets, short to long
        self.buckets = []
        for i in range(config.buckets):
            of = order[np.ceil(bucket) == i + 1] if i + 1 < config.buckets else order[bucket > i]
            if len(of):
                self.buckets.append(([utterances[j] for j in of], Weighted(likely[of]), max(rows[j] for j in of)))

    def __getitem__(self, number: int) -> TextBatch:
        rng = np.random.default_rng((self.seed, number))
        utterances, draw, longest = self.buckets[rng.integers(len(self.buckets))]
        chosen = [utterances[draw(rng)] for _ in range(max(1, self.config.rows // longest))]
        hidden = rng.random(len(chosen)) < self.config.unknown
        batch = Batch.of(
            [
                self.layout.example(replace(utterance, voice=OTHERS) if hide else utterance)
                for utterance, hide in zip(chosen, hidden, strict=True)
            ]
        )
        return TextBatch(batch.rows, batch.lengths, batch.targets)


class LMTraining(Part):
    """Cross entropy of codes and of the passing on to the next symbol, which are shown apart.

    draft_weight: of the mean of the draft heads' cross entropies, where the model has such heads.
    """

    model: TextSpeechLM

    def __init__(self, model: TextSpeechLM, optim: AdamWConfig, draft_weight: float = 0.3) -> None:
        super().__init__(model, optim)
        self.draft_weight = draft_weight

    def losses(self, batch: TextBatch) -> dict[str, Tensor]:
        """Negative log-likelihoods in nats: `loss`; `code`, given that a code comes; `length`, whether one comes.

        With draft heads also `draft`, the mean over the heads, a weighted part of `loss`.
        """
        targets, fill = batch.targets.flatten(), self.model.config.vocabulary.fill
        states = self.model.states(batch.rows, batch.lengths)
        logits = self.model.head(states).flatten(0, 1).float()
        loss = cross_entropy(logits, targets, ignore_index=IGNORE)
        scores, here = logits.detach().log_softmax(-1), targets != IGNORE
        on = scores[:, fill]
        stay = torch.log1p(-on.exp().clamp(max=1 - 1e-6))
        is_code = here & (targets != fill)
        of_code = scores.gather(1, targets.clamp(min=0)[:, None])[:, 0] - stay
        length = torch.where(targets == fill, on, stay)
        losses = {"loss": loss, "code": -of_code[is_code].mean(), "length": -length[here].mean()}
        if drafts := self.model.draft_losses(states, batch.rows, batch.targets):
            losses["draft"] = torch.stack(drafts).mean()
            losses["loss"] = loss + self.draft_weight * losses["draft"]
        return losses

    def training_step(self, batch: TextBatch, batch_index: int) -> dict[str, Tensor]:
        losses = self.losses(batch)
        fill = self.model.config.vocabulary.fill
        self.count(float(((batch.targets != IGNORE) & (batch.targets != fill)).sum()) * SECONDS)
        return losses

    def validation_step(self, batch: TextBatch, batch_index: int) -> None:
        losses = {f"val_{name}": value for name, value in self.losses(batch).items()}
        self.log_dict(losses, batch_size=int(batch.lengths.sum()), sync_dist=True)
