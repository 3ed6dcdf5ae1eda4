"""From a batch of cuts to padded, augmented samples and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from lhotse import CutSet
from torch import Tensor
from torch.utils.data import Dataset

from recipes.asr_small.augment import AugmentConfig, augment
from recipes.asr_small.targets import IGNORED, frame_targets
from recipes.common.cache import RATE, AudioCache


class Batch(NamedTuple):
    """samples: [b, n] float32; lengths: [b] samples; tokens: [b, u]; token_lengths: [b].

    targets: [b, t], the token (or blank) of every encoder frame as far as it is known, else IGNORED. seed: for draws
    that are made later.
    """

    samples: Tensor
    lengths: Tensor
    tokens: Tensor
    token_lengths: Tensor
    targets: Tensor
    seed: int

    @property
    def seconds(self) -> float:
        """Seconds of speech, padding not counted."""
        return float(self.lengths.sum()) / RATE


class Utterances(Dataset):
    """Item `(index, cuts)` -> Batch. All its draws follow from the seed and the index, whichever process makes it."""

    def __init__(
        self,
        caches: dict[str, AudioCache],
        augmentation: AugmentConfig | None,
        noises: Sequence[np.ndarray],
        blank: int,
        seed: tuple[int, ...],
    ) -> None:
        self.caches, self.augmentation, self.noises = caches, augmentation, noises
        self.blank, self.seed = blank, seed

    def __getitem__(self, item: tuple[int, CutSet]) -> Batch:
        index, cuts = item
        rng = np.random.default_rng((*self.seed, index))
        signals, tokens, targets = [], [], []
        for cut in cuts:  # type: ignore[attr-defined]
            x, spoken = self.caches[cut.custom["cache"]].audio(cut), cut.supervisions[0].custom
            plain = len(x)
            if self.augmentation is not None:
                x = augment(x, self.noises, self.augmentation, rng)
            signals.append(torch.from_numpy(x))
            tokens.append(torch.tensor(spoken["tokens"]))
            targets.append(torch.from_numpy(frame_targets(spoken["spans"], len(x) / RATE, len(x) / plain, self.blank)))
        return Batch(
            samples=padded(signals),
            lengths=torch.tensor([len(x) for x in signals]),
            tokens=padded(tokens),
            token_lengths=torch.tensor([len(x) for x in tokens]),
            targets=padded(targets, IGNORED),
            seed=int(rng.integers(1 << 31)),
        )


def padded(rows: Sequence[Tensor], filling: int = 0) -> Tensor:
    """[n_i] each -> [b, max n_i], filled up."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=filling)
