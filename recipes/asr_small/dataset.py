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
from recipes.asr_small.cache import RATE, AudioCache


class Batch(NamedTuple):
    """samples: [b, n] float32; lengths: [b] samples; tokens: [b, u]; token_lengths: [b].

    context: which of the model's look-aheads is trained; seed: for draws on the device.
    """

    samples: Tensor
    lengths: Tensor
    tokens: Tensor
    token_lengths: Tensor
    context: int
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
        contexts: int,
        seed: tuple[int, ...],
    ) -> None:
        self.caches, self.augmentation, self.noises = caches, augmentation, noises
        self.contexts, self.seed = contexts, seed

    def __getitem__(self, item: tuple[int, CutSet]) -> Batch:
        index, cuts = item
        rng = np.random.default_rng((*self.seed, index))
        signals = [self.caches[cut.custom["cache"]].audio(cut) for cut in cuts]  # type: ignore[index, arg-type]
        if self.augmentation is not None:
            signals = [augment(x, self.noises, self.augmentation, rng) for x in signals]
        tokens = [cut.supervisions[0].custom["tokens"] for cut in cuts]  # type: ignore[index]
        return Batch(
            samples=padded([torch.from_numpy(x) for x in signals]),
            lengths=torch.tensor([len(x) for x in signals]),
            tokens=padded([torch.tensor(x, dtype=torch.long) for x in tokens]),
            token_lengths=torch.tensor([len(x) for x in tokens]),
            context=int(rng.integers(self.contexts)),
            seed=int(rng.integers(1 << 31)),
        )


def padded(rows: Sequence[Tensor]) -> Tensor:
    """[n_i] each -> [b, max n_i], filled with zeros."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
